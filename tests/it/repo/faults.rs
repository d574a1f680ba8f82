//! `scripts/faults` runs every test whose number of repetitions depends on `FAULTS`.

use std::path::Path;

use syn::visit::{self, Visit};
use syn::{ExprCall, ItemFn};

use super::architecture::{files, read};

/// Functions of a file that call `repetitions`, each with a flag for tests.
#[derive(Default)]
struct Callers {
    found: Vec<(String, bool)>,
    /// Whether the current function calls `repetitions`.
    has_call: bool,
}

impl Visit<'_> for Callers {
    fn visit_item_fn(&mut self, function: &ItemFn) {
        self.has_call = false;
        visit::visit_item_fn(self, function);
        if self.has_call {
            let is_test = function.attrs.iter().any(|attribute| attribute.path().is_ident("test"));
            self.found.push((function.sig.ident.to_string(), is_test));
        }
        self.has_call = false;
    }

    fn visit_expr_call(&mut self, call: &ExprCall) {
        let function =
            if let syn::Expr::Path(path) = &*call.func { path.path.segments.last() } else { None };
        self.has_call |= function.is_some_and(|name| name.ident == "repetitions");
        visit::visit_expr_call(self, call);
    }
}

#[test]
fn every_test_with_amounts_is_run_by_the_script() {
    let script = read("scripts", Path::new("faults"));
    let (_, list) = script.split_once("\ntests=(").unwrap();
    let filters: Vec<_> = list.split_once(')').unwrap().0.split_whitespace().collect();
    let paths = files("tests/it");
    let (mut found, mut missing) = (0, Vec::new());
    for path in &paths {
        let module = path.with_extension("");
        let module: Vec<_> = module.iter().map(|part| part.to_str().unwrap()).collect();
        let module = module.join("::");
        if module.starts_with("support::faults") || module.starts_with("repo::") {
            continue;
        }
        let mut callers = Callers::default();
        callers.visit_file(&syn::parse_file(&read("tests/it", path)).unwrap());
        for (function, is_test) in callers.found {
            found += 1;
            // It is not known which tests call a helper, so the script must run every test of its file.
            let name =
                if is_test { format!("{module}::{function}") } else { format!("{module}::") };
            if !filters.iter().any(|filter| name.contains(filter)) {
                missing.push(format!("{name} ({function})"));
            }
        }
    }
    assert!(found > 40, "{found} functions");
    assert!(missing.is_empty(), "add these to the list in scripts/faults: {missing:#?}");
    // Every filter in the list selects a file of tests.
    for filter in filters {
        let module = filter.split("::").take(2).collect::<Vec<_>>().join("/");
        assert!(paths.contains(&format!("{module}.rs").into()), "no file of tests for {filter}");
    }
}
