//! Row of the table of ratios: a figure with its limits.

use super::tables::number;

/// Side of a limit on which a figure is good.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    AtLeast,
    AtMost,
}

/// Ratio or other figure with two limits: one that it must hold, and one that it should reach.
pub(super) struct Row {
    name: &'static str,
    measured: Option<f64>,
    side: Side,
    must: f64,
    reach: f64,
    unit: &'static str,
}

impl Row {
    /// Figure that should be high.
    pub(super) fn at_least(
        name: &'static str,
        measured: Option<f64>,
        must: f64,
        reach: f64,
    ) -> Self {
        Self { name, measured, side: Side::AtLeast, must, reach, unit: "" }
    }

    /// Figure that should be low.
    pub(super) fn at_most(
        name: &'static str,
        measured: Option<f64>,
        must: f64,
        reach: f64,
    ) -> Self {
        Self { name, measured, side: Side::AtMost, must, reach, unit: "" }
    }

    /// The same figure with a unit.
    pub(super) fn in_unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    /// Name of the figure in the table.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Measured value, if there is one.
    pub(super) fn measured(&self) -> Option<f64> {
        self.measured
    }

    /// Whether the figure was measured and does not hold its limit.
    pub(super) fn is_missed(&self) -> bool {
        self.measured.is_some() && !self.holds(self.must)
    }

    fn holds(&self, limit: f64) -> bool {
        self.measured.is_some_and(|measured| match self.side {
            Side::AtLeast => measured >= limit,
            Side::AtMost => measured <= limit,
        })
    }

    fn verdict(&self) -> &'static str {
        match (self.measured, self.holds(self.must), self.holds(self.reach)) {
            (None, ..) => "not measured",
            (_, _, true) => "reached",
            (_, true, false) => "holds",
            (_, false, false) => "**does not hold**",
        }
    }

    /// Cells of the row.
    pub(super) fn cells(&self) -> [String; 5] {
        let sign = if self.side == Side::AtLeast { "≥" } else { "≤" };
        let unit = self.unit;
        let measured = self.measured.map_or_else(|| "–".to_owned(), |value| number(value) + unit);
        let limit = |value| format!("{sign} {}{unit}", number(value));
        let (name, verdict) = (self.name.to_owned(), self.verdict().to_owned());
        [name, measured, limit(self.must), limit(self.reach), verdict]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_a_good_side() {
        let verdict = |row: &Row| row.verdict();
        assert_eq!(verdict(&Row::at_least("", Some(0.5), 0.27, 0.5)), "reached");
        assert_eq!(verdict(&Row::at_least("", Some(0.3), 0.27, 0.5)), "holds");
        assert_eq!(verdict(&Row::at_least("", Some(0.2), 0.27, 0.5)), "**does not hold**");
        assert_eq!(verdict(&Row::at_most("", Some(4.6), 4.5, 2.5)), "**does not hold**");
        assert_eq!(verdict(&Row::at_most("", Some(2.5), 4.5, 2.5)), "reached");
        assert_eq!(verdict(&Row::at_most("", None, 4.5, 2.5)), "not measured");
    }
}
