//! Imports between the files of a crate: a file imports another one if it names an item that the other one
//! defines.
//!
//! An edge leads through every re-export to the file that defines the item. It comes from `use`, from paths
//! in code and from the tokens of macros, in unit tests too. `mod` and re-exports are not edges. Neither is the
//! name of a module alone; the items that are named in it are.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, ItemMod, ItemUse, Macro, Path, UseTree, Visibility};

/// Name of the library crate, as `main.rs` uses it.
const LIBRARY: &str = "statusmirror";

/// Meaning of a name in a module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    /// An item, by the file that defines it.
    Item(String),
    /// A module, by its path.
    Module(String),
    /// A `use`: another path, read in the same module.
    Alias(Vec<String>),
}

/// Files by their paths in `src`, with their syntax trees.
pub(crate) type Files = BTreeMap<String, syn::File>;

/// Imports from file to file, with the paths that name the items.
pub(crate) type Edges = BTreeMap<(String, String), BTreeSet<String>>;

/// Imports of a crate's files.
#[derive(Default)]
pub(crate) struct Imports {
    pub(crate) edges: Edges,
    /// Paths of other crates' items, by file.
    pub(crate) foreign: BTreeMap<String, BTreeSet<String>>,
}

/// All names of all modules.
#[derive(Default)]
struct Names {
    bindings: BTreeMap<(String, String), BTreeSet<Binding>>,
    globs: BTreeMap<String, Vec<Vec<String>>>,
}

/// Imports of these files.
pub(crate) fn imports(files: &Files) -> Imports {
    let mut names = Names::default();
    for (file, tree) in files {
        let module = module_of(file);
        visit::visit_file(&mut Collector { file, module, names: &mut names }, tree);
    }
    let mut imports = Imports::default();
    for (file, tree) in files {
        let module = module_of(file);
        let mut finder = Finder { file, module, names: &names, imports: &mut imports };
        visit::visit_file(&mut finder, tree);
    }
    imports
}

/// Cycles: groups of files that import one another, the largest first.
pub(crate) fn cycles(edges: &Edges) -> Vec<BTreeSet<String>> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in edges.keys() {
        next.entry(from).or_default().push(to);
    }
    let reached = |start: &str| {
        let (mut found, mut pending) = (BTreeSet::new(), vec![start.to_owned()]);
        while let Some(file) = pending.pop() {
            for &to in next.get(&*file).into_iter().flatten() {
                if found.insert(to.to_owned()) {
                    pending.push(to.to_owned());
                }
            }
        }
        found
    };
    let reach: BTreeMap<&str, BTreeSet<String>> =
        next.keys().map(|file| (*file, reached(file))).collect();
    let cycle = |file: &str| -> BTreeSet<String> {
        let back = |other: &&String| reach.get(&***other).is_some_and(|found| found.contains(file));
        reach[file].iter().filter(back).cloned().collect()
    };
    let cycles: BTreeSet<_> = next.keys().map(|file| cycle(file)).collect();
    let mut cycles: Vec<_> = cycles.into_iter().filter(|files| files.len() > 1).collect();
    cycles.sort_by_key(|files| usize::MAX - files.len());
    cycles
}

/// Path of a file's module.
fn module_of(file: &str) -> String {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    match path {
        "lib" => "crate".to_owned(),
        "main" => "main".to_owned(),
        _ => format!("crate::{}", path.replace('/', "::")),
    }
}

/// Each name that a `use` imports, with its path; the name of a glob is `*`.
fn leaves(tree: &UseTree, before: &[String], found: &mut Vec<(String, Vec<String>)>) {
    let path = |ident: &Ident| [before, &[ident.to_string()]].concat();
    match tree {
        UseTree::Path(part) => leaves(&part.tree, &path(&part.ident), found),
        UseTree::Group(group) => {
            group.items.iter().for_each(|item| leaves(item, before, found));
        }
        UseTree::Name(name) if name.ident == "self" => {
            found.push((before.last().cloned().unwrap_or_default(), before.to_vec()));
        }
        UseTree::Name(name) => found.push((name.ident.to_string(), path(&name.ident))),
        UseTree::Rename(name) if name.ident == "self" => {
            found.push((name.rename.to_string(), before.to_vec()));
        }
        UseTree::Rename(name) => found.push((name.rename.to_string(), path(&name.ident))),
        UseTree::Glob(_) => found.push(("*".to_owned(), before.to_vec())),
    }
}

impl Names {
    fn bind(&mut self, module: &str, name: &Ident, binding: Binding) {
        let key = (module.to_owned(), name.to_string());
        self.bindings.entry(key).or_default().insert(binding);
    }

    /// Meanings of a path in a module: items and modules of this crate; none for paths of other crates.
    fn resolve(&self, module: &str, path: &[String], seen: &mut Seen) -> BTreeSet<Binding> {
        let Some((first, mut rest)) = path.split_first() else { return BTreeSet::new() };
        let mut found = match first.as_str() {
            "crate" if module.split("::").next() == Some("main") => module_set("main"),
            "crate" | LIBRARY => module_set("crate"),
            "self" => module_set(module),
            "super" => module_set(parent(module)),
            _ => self.look_up(module, first, seen),
        };
        while let Some((name, tail)) = rest.split_first() {
            let modules: Vec<_> = found
                .iter()
                .filter_map(|binding| match binding {
                    Binding::Module(module) => Some(module.clone()),
                    Binding::Item(_) | Binding::Alias(_) => None,
                })
                .collect();
            if modules.is_empty() {
                // The rest is a constant, variant or function of a type.
                return found;
            }
            let inner = |module: &String| match name.as_str() {
                "super" => module_set(parent(module)),
                _ => self.look_up(module, name, seen),
            };
            found = modules.iter().flat_map(inner).collect();
            rest = tail;
        }
        found
    }

    /// Meanings of a name in a module, through `use`, re-exports and globs.
    fn look_up(&self, module: &str, name: &str, seen: &mut Seen) -> BTreeSet<Binding> {
        let key = (module.to_owned(), name.to_owned());
        if !seen.insert(key.clone()) {
            return BTreeSet::new();
        }
        let mut found = BTreeSet::new();
        for binding in self.bindings.get(&key).into_iter().flatten() {
            if let Binding::Alias(path) = binding {
                found.extend(self.resolve(module, path, seen));
            } else {
                found.insert(binding.clone());
            }
        }
        if found.is_empty() {
            for glob in self.globs.get(module).into_iter().flatten() {
                for target in self.resolve(module, glob, &mut seen.clone()) {
                    if let Binding::Module(target) = target {
                        found.extend(self.look_up(&target, name, seen));
                    }
                }
            }
        }
        seen.remove(&key);
        found
    }
}

/// Names whose look-up is in progress, so that it ends at cycles of re-exports.
type Seen = BTreeSet<(String, String)>;

fn module_set(module: &str) -> BTreeSet<Binding> {
    BTreeSet::from([Binding::Module(module.to_owned())])
}

fn parent(module: &str) -> &str {
    module.rsplit_once("::").map_or(module, |(parent, _)| parent)
}

/// Collects the names of one file.
struct Collector<'a> {
    file: &'a str,
    module: String,
    names: &'a mut Names,
}

macro_rules! collect_items {
    ($($method:ident: $item:ident,)*) => {
        $(fn $method(&mut self, item: &'ast syn::$item) {
            self.names.bind(&self.module, &item.ident, Binding::Item(self.file.to_owned()));
            visit::$method(self, item);
        })*
    };
}

impl<'ast> Visit<'ast> for Collector<'_> {
    collect_items! {
        visit_item_const: ItemConst,
        visit_item_enum: ItemEnum,
        visit_item_static: ItemStatic,
        visit_item_struct: ItemStruct,
        visit_item_trait: ItemTrait,
        visit_item_type: ItemType,
        visit_item_union: ItemUnion,
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.names.bind(&self.module, &item.sig.ident, Binding::Item(self.file.to_owned()));
        visit::visit_item_fn(self, item);
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        if let Some(name) = &item.ident {
            self.names.bind(&self.module, name, Binding::Item(self.file.to_owned()));
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let inner = format!("{}::{}", self.module, item.ident);
        self.names.bind(&self.module, &item.ident, Binding::Module(inner.clone()));
        let outer = std::mem::replace(&mut self.module, inner);
        visit::visit_item_mod(self, item);
        self.module = outer;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut found = Vec::new();
        leaves(&item.tree, &[], &mut found);
        for (name, path) in found {
            if name == "*" {
                self.names.globs.entry(self.module.clone()).or_default().push(path);
            } else if name != "_" {
                let key = (self.module.clone(), name);
                self.names.bindings.entry(key).or_default().insert(Binding::Alias(path));
            }
        }
    }
}

/// Finds the items that one file names.
struct Finder<'a> {
    file: &'a str,
    module: String,
    names: &'a Names,
    imports: &'a mut Imports,
}

impl Finder<'_> {
    fn note(&mut self, path: &[String]) {
        let found = self.names.resolve(&self.module, path, &mut Seen::new());
        self.note_found(path, found);
    }

    /// Notes a `use`. If it imports a module and a function of the same name, later paths show which is used.
    fn note_use(&mut self, path: &[String]) {
        let found = self.names.resolve(&self.module, path, &mut Seen::new());
        let has_module = found.iter().any(|binding| matches!(binding, Binding::Module(_)));
        if !has_module {
            self.note_found(path, found);
        }
    }

    fn note_found(&mut self, path: &[String], found: BTreeSet<Binding>) {
        if found.is_empty() && path.len() > 1 {
            let foreign = self.imports.foreign.entry(self.file.to_owned()).or_default();
            foreign.insert(path.join("::"));
        }
        for target in found {
            if let Binding::Item(file) = target
                && file != self.file
            {
                let edge = (self.file.to_owned(), file);
                self.imports.edges.entry(edge).or_default().insert(path.join("::"));
            }
        }
    }

    /// Notes all paths in the tokens of a macro.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        // A dot precedes a member, an apostrophe a lifetime, and `::` the next segment of the path.
        let (mut colons, mut is_name) = (0, true);
        for token in tokens {
            if let TokenTree::Punct(mark) = &token
                && mark.as_char() == ':'
            {
                colons += 1;
                continue;
            }
            let is_continued = std::mem::take(&mut colons) == 2;
            if let TokenTree::Ident(ident) = &token {
                if !is_continued {
                    self.note(&std::mem::take(&mut path));
                }
                if is_name && (!is_continued || !path.is_empty()) {
                    path.push(ident.to_string());
                }
                is_name = true;
                continue;
            }
            self.note(&std::mem::take(&mut path));
            is_name = true;
            if let TokenTree::Punct(mark) = &token {
                is_name = !['.', '\''].contains(&mark.as_char());
            } else if let TokenTree::Group(group) = token {
                self.note_tokens(group.stream());
            }
        }
        self.note(&path);
    }

    /// Notes paths in the strings of an attribute, as in `#[serde(with = "module")]`, which calls functions
    /// of the module without naming them.
    fn note_texts(&mut self, tokens: TokenStream) {
        for token in tokens {
            if let TokenTree::Group(group) = token {
                self.note_texts(group.stream());
            } else if let TokenTree::Literal(literal) = token
                && let Ok(path) = syn::parse_str::<Path>(literal.to_string().trim_matches('"'))
            {
                let path = segments(&path);
                self.note(&path);
                for name in ["serialize", "deserialize"] {
                    self.note(&[&path[..], &[name.to_owned()]].concat());
                }
            }
        }
    }
}

fn segments(path: &Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let inner = format!("{}::{}", self.module, item.ident);
        let outer = std::mem::replace(&mut self.module, inner);
        visit::visit_item_mod(self, item);
        self.module = outer;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if matches!(item.vis, Visibility::Inherited) {
            let mut found = Vec::new();
            leaves(&item.tree, &[], &mut found);
            let named = found.iter().filter(|(name, _)| name != "*");
            named.for_each(|(_, path)| self.note_use(path));
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none() {
            self.note(&segments(path));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.note_tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.note_tokens(list.tokens.clone());
            self.note_texts(list.tokens.clone());
        }
        visit::visit_attribute(self, attribute);
    }
}
