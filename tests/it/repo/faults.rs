//! `scripts/faults`: it runs every test whose amounts depend on `FAULTS`.

use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{ExprCall, ItemFn};

/// Files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The functions of a file that call `times`, each with whether it is a test.
#[derive(Default)]
struct Callers {
    found: Vec<(String, bool)>,
    calls: bool,
}

impl Visit<'_> for Callers {
    fn visit_item_fn(&mut self, function: &ItemFn) {
        self.calls = false;
        visit::visit_item_fn(self, function);
        if self.calls {
            let is_test = function.attrs.iter().any(|attribute| attribute.path().is_ident("test"));
            self.found.push((function.sig.ident.to_string(), is_test));
        }
        self.calls = false;
    }

    fn visit_expr_call(&mut self, call: &ExprCall) {
        let called =
            if let syn::Expr::Path(path) = &*call.func { path.path.segments.last() } else { None };
        self.calls |= called.is_some_and(|name| name.ident == "times");
        visit::visit_expr_call(self, call);
    }
}

#[test]
fn every_test_with_amounts_is_run_by_the_script() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = fs::read_to_string(root.join("scripts/faults")).unwrap();
    let (_, list) = script.split_once("\ntests=(").unwrap();
    let filters: Vec<_> = list.split_once(')').unwrap().0.split_whitespace().collect();
    let tests = root.join("tests/it");
    let (mut found, mut missing) = (0, Vec::new());
    for path in files(&tests) {
        let module = path.strip_prefix(&tests).unwrap().with_extension("");
        let module: Vec<_> = module.iter().map(|part| part.to_str().unwrap()).collect();
        let module = module.join("::");
        if module.starts_with("support::faults") || module.starts_with("repo::") {
            continue;
        }
        let mut callers = Callers::default();
        callers.visit_file(&syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap());
        for (function, is_test) in callers.found {
            found += 1;
            // Of a helper the file alone is known, so the script must run all of its tests.
            let name =
                if is_test { format!("{module}::{function}") } else { format!("{module}::") };
            if !filters.iter().any(|filter| name.contains(filter)) {
                missing.push(format!("{name} ({function})"));
            }
        }
    }
    assert!(found > 40, "{found} functions");
    assert!(missing.is_empty(), "add these to the list in scripts/faults: {missing:#?}");
    // And nothing is in the list that no test is selected by.
    for filter in filters {
        let module = filter.split("::").take(2).collect::<Vec<_>>().join("/");
        assert!(tests.join(format!("{module}.rs")).exists(), "no file of tests for {filter}");
    }
}
