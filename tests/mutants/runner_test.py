#!/usr/bin/env python3
"""What scripts/mutants says about faulty tables, before it builds anything."""
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOOD = {
    "name": '"a-mutant"',
    "guarantee": '"A key is compared whole"',
    "file": '"src/main.rs"',
    "find": '"fn main()"',
    "replace": '"fn main ()"',
    "tests": '["durability::the_wal"]',
}


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
        self.assert_rejected("no test in tests/it matches `durability::gone`", {"tests": '["durability::gone"]'})

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


if __name__ == "__main__":
    unittest.main()
