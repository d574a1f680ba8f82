#!/usr/bin/env python3
"""Tests of scripts/mutants: its messages about faulty tables, and its selection of mutants."""
import importlib.machinery
import importlib.util
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOOD = {
    "name": '"a-mutant"',
    "guarantee": '"A key is compared whole"',
    "file": '"src/main.rs"',
    "find": '"fn main()"',
    "replace": '"fn main ()"',
    "tests": '["kills::the_wal"]',
}

# The runner has no extension. Its compiled form would lie beside it.
sys.dont_write_bytecode = True
LOADER = importlib.machinery.SourceFileLoader("runner", str(ROOT / "scripts/mutants"))
runner = importlib.util.module_from_spec(importlib.util.spec_from_loader("runner", LOADER))
LOADER.exec_module(runner)


def run(changes, *arguments, more=""):
    """Exit code and output of the runner for a table with one entry."""
    entry = "\n".join(f"{key} = {value}" for key, value in (GOOD | changes).items() if value)
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "table.toml").write_text(f"[[mutant]]\n{entry}\n{more}")
        command = [ROOT / "scripts/mutants", "--tables", folder, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


class Tables(unittest.TestCase):
    def assert_rejected(self, words, changes, **options):
        # Without --check it would build and run the mutant, if it did not stop before.
        code, output = run(changes, **options)
        self.assertEqual(code, 1, output)
        self.assertIn(words, output)
        self.assertIn("nothing was built", output)

    def test_a_good_table_passes(self):
        self.assertEqual(run({}, "--check"), (0, "1 mutants, every anchor matches once.\n"))

    def test_a_lost_anchor_is_named(self):
        self.assert_rejected("table.toml: a-mutant: no match in src/main.rs for `fn gone()`", {"find": '"fn gone()"'})

    def test_an_ambiguous_anchor_is_named(self):
        self.assert_rejected("matches in src/main.rs for `e`", {"find": '"e"'})

    def test_an_empty_anchor_is_rejected(self):
        self.assert_rejected("no match in src/main.rs", {"find": '""'})

    def test_the_anchor_of_a_further_edit_counts(self):
        self.assert_rejected(
            "no match in src/lib.rs for `fn gone()`", {},
            more='[[mutant.edit]]\nfile = "src/lib.rs"\nfind = "fn gone()"\nreplace = ""\n',
        )

    def test_a_missing_file_is_named(self):
        self.assert_rejected("src/gone.rs cannot be read", {"file": '"src/gone.rs"'})

    def test_a_test_that_does_not_exist_is_named(self):
        self.assert_rejected("no test in tests/it matches `kills::gone`", {"tests": '["kills::gone"]'})

    def test_a_unit_test_lies_in_the_library(self):
        unit = {"unit": "true", "tests": '["json::write::tests::texts_are_escaped"]'}
        self.assertEqual(run(unit, "--check")[0], 0)
        self.assert_rejected("no test in src matches `kills::the_wal`", {"unit": "true"})
        self.assert_rejected("no test in tests/it matches `json::write", unit | {"unit": None})

    def test_a_mutant_without_tests_is_rejected(self):
        self.assert_rejected("`tests` is empty", {"tests": "[]"})

    def test_a_replacement_that_changes_nothing_is_rejected(self):
        self.assert_rejected("nothing is broken", {"replace": '"fn main()"'})

    def test_a_missing_member_is_named(self):
        self.assert_rejected("guarantee missing", {"guarantee": None})

    def test_a_misspelled_member_is_named(self):
        self.assert_rejected("unknown featurs", {"featurs": '["otlp"]'})

    def test_an_unknown_mutant_is_named(self):
        code, output = run({}, "another")
        self.assertEqual(code, 1)
        self.assertIn("another: no such mutant", output)


class Selection(unittest.TestCase):
    mutants = [runner.Mutant({"name": f"mutant-{number}"}, "table.toml") for number in range(185)]

    def test_ten_commits_run_every_mutant_once(self):
        parts = [runner.selection(self.mutants, [], f"{commit:040x}")[1] for commit in range(10)]
        self.assertEqual(sorted(m.name for part in parts for m in part), sorted(m.name for m in self.mutants))
        self.assertEqual({len(part) for part in parts}, {18, 19})

    def test_touched_mutants_run_beside_a_tenth_of_the_others(self):
        touched, part = runner.selection(self.mutants, self.mutants[:20], "0")
        self.assertEqual(touched, self.mutants[:20])
        self.assertEqual(len(part), 17)
        self.assertFalse(set(part) & set(touched))

    def test_a_large_change_runs_a_tenth_alone(self):
        touched, part = runner.selection(self.mutants, self.mutants[:21], "0")
        self.assertEqual((len(touched), len(part)), (0, 19))


if __name__ == "__main__":
    unittest.main()
