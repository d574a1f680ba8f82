//! Content negotiation of the metrics' format (RFC 9110, section 12.5.1).

/// Format of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Prometheus' text format, version 0.0.4.
    Text,
    /// `OpenMetrics` 1.0.0, the standard.
    OpenMetrics,
    /// `OpenMetrics` 0.0.1, its draft, in which all of these metrics look the same.
    OpenMetricsDraft,
}

impl Format {
    /// All formats, in order of preference among equally wanted ones.
    const ALL: [Self; 3] = [Self::Text, Self::OpenMetrics, Self::OpenMetricsDraft];

    /// Format that the client prefers; the text format if it accepts none of them.
    pub(crate) fn negotiate<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let ranges: Vec<_> =
            accept.flat_map(|header| split(header, ',')).map(Range::parse).collect();
        let mut best = (Self::Text, Match::default());
        for format in Self::ALL {
            let matched = format.best_match(&ranges);
            if matched.is_preferred_over(best.1) {
                best = (format, matched);
            }
        }
        best.0
    }

    /// Content type of the format.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::OpenMetricsDraft => "application/openmetrics-text; version=0.0.1; charset=utf-8",
        }
    }

    /// Match of the format with its most specific media range.
    fn best_match(self, ranges: &[Option<Range<'_>>]) -> Match {
        let (name, version) = match self {
            Self::Text => ("text/plain", "0.0.4"),
            Self::OpenMetrics => ("application/openmetrics-text", "1.0.0"),
            Self::OpenMetricsDraft => ("application/openmetrics-text", "0.0.1"),
        };
        let mut best: Option<Match> = None;
        for (position, range) in ranges.iter().enumerate() {
            let Some(range) = range else { continue };
            let Some(specificity) = range.specificity(name, version) else { continue };
            if best.is_none_or(|best| specificity > best.specificity) {
                best = Some(Match { quality: range.quality, specificity, position });
            }
        }
        best.unwrap_or_default()
    }
}

/// Degree to which a client accepts a format; zero by default.
#[derive(Debug, Clone, Copy, Default)]
struct Match {
    quality: f32,
    specificity: u8,
    position: usize,
}

impl Match {
    fn is_preferred_over(self, other: Self) -> bool {
        let order = self.quality.total_cmp(&other.quality);
        let order = order.then(self.specificity.cmp(&other.specificity));
        order.then(other.position.cmp(&self.position)).is_gt()
    }
}

/// Media range of `Accept`.
#[derive(Debug)]
struct Range<'a> {
    name: &'a str,
    version: Option<&'a str>,
    quality: f32,
}

impl<'a> Range<'a> {
    /// Parses a media range; `None` if its quality is invalid.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = split(text, ';').map(str::trim);
        let mut range = Self { name: parts.next()?, version: None, quality: 1.0 };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('"');
            match name.trim() {
                name if name.eq_ignore_ascii_case("version") => range.version = Some(value),
                name if name.eq_ignore_ascii_case("q") => {
                    range.quality =
                        value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?;
                }
                _ => {}
            }
        }
        Some(range)
    }

    /// Specificity with which the range matches this type and version; `None` if it does not match.
    fn specificity(&self, name: &str, version: &str) -> Option<u8> {
        let kind = name.split('/').next().unwrap_or_default();
        if self.name == "*/*" {
            return Some(1);
        }
        if self.name.strip_suffix("/*").is_some_and(|own| own.eq_ignore_ascii_case(kind)) {
            return Some(2);
        }
        if !self.name.eq_ignore_ascii_case(name) {
            return None;
        }
        match self.version {
            None => Some(3),
            Some(wanted) => (wanted == version).then_some(4),
        }
    }
}

/// Splits a text at a character, except inside quotes.
fn split(text: &str, letter: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |other| {
        quoted ^= other == '"';
        other == letter && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_match_of_the_accept_header_is_chosen() {
        let open = "application/openmetrics-text";
        for (accept, wanted) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html, */*;q=0.1", Format::Text),
            ("text/*", Format::Text),
            ("application/*", Format::OpenMetrics),
            ("application/*;q=0.5, text/plain;q=0.4", Format::OpenMetrics),
            (open, Format::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\" ; Q=1.0", Format::OpenMetrics),
            ("application/openmetrics-text;version=1.0.0", Format::OpenMetrics),
            ("application/openmetrics-text;version=0.0.1", Format::OpenMetricsDraft),
            ("application/openmetrics-text;version=2.0.0", Format::Text),
            ("application/openmetrics-text;version=2.0.0, */*;q=0.1", Format::Text),
            ("text/plain;version=0.0.4;q=0.9,*/*;q=0.1", Format::Text),
            ("text/plain;version=1.0.0, application/openmetrics-text;q=0.1", Format::OpenMetrics),
            ("text/plain;q=0.4, application/openmetrics-text;q=0.5", Format::OpenMetrics),
            ("text/plain;q=0.5, application/openmetrics-text;q=0.4", Format::Text),
            ("text/plain, application/openmetrics-text", Format::Text),
            ("application/openmetrics-text, text/plain", Format::OpenMetrics),
            ("application/openmetrics-text, */*", Format::OpenMetrics),
            ("text/plain;q=0, application/openmetrics-text;q=0.001", Format::OpenMetrics),
            ("text/plain;q=0, */*", Format::OpenMetrics),
            ("application/openmetrics-text;q=0, */*;q=0.5", Format::Text),
            ("application/openmetrics-text;q=x, text/plain;q=0.1", Format::Text),
            ("application/openmetrics-text;q=2, text/plain;q=0.1", Format::Text),
            ("text/plain;a=\",;q=0\";q=0.2, application/openmetrics-text;q=0.1", Format::Text),
            // Headers of current and earlier Prometheus versions.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,\
                 */*;q=0.1",
                Format::OpenMetrics,
            ),
            (
                "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetricsDraft,
            ),
            (
                "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4",
                Format::Text,
            ),
        ] {
            assert_eq!(Format::negotiate([accept].into_iter()), wanted, "{accept}");
        }
        let two = ["text/plain;q=0.1", "application/openmetrics-text"];
        assert_eq!(Format::negotiate(two.into_iter()), Format::OpenMetrics);
        assert_eq!(Format::negotiate([].into_iter()), Format::Text);
    }
}
