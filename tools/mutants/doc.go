// The mutants command takes guards out of the programs and shows for each the test that
// fails without it. It runs at the root of the repository:
//
//	make mutants                  the marked guards
//	make mutants HEART=1          generated mutants of the packages in heart.txt
//	make mutants SAMPLE=1         some marked guards, in seconds (make test)
//	bin/mutants -only publish     those of some files, by a regular expression
//
// A guard is marked at the end of its line, or on a line of its own above it, with the
// tests of which each must fail without it:
//
//	if n.Hot { // guard: TestHotIsNotComplete
//	if n.Hot || n.parent == nil { // guard (without n.Hot): TestHotIsNotComplete
//
// The words in parentheses say what is done to it. Without them, a condition is never true,
// a statement is left out, and so is the operand of && or || that begins on the line.
//
//	(always)          the condition is always true
//	(without TEXT)    the operand of && or || that begins with TEXT is left out, or "+ 1"
//	(returns TEXT)    the statement returns TEXT
//	(TEXT -> TEXT)    in the statement or condition one text stands in place of the other
//
// All mutations of a run are compiled at once, through go build -overlay: each behind a
// switch that is off unless TIDEMARK_MUTANT has its number. So a test is compiled once
// for all of them, nothing is copied, and nothing is written in the tree.
//
// Its files stand in layers. Each uses what stands below it:
//
//	main.go              options
//	marked.go            each marked guard with its tests
//	generated.go         each generated mutant with the tests that reach it
//	report.go            the table
//	killers.go           tests that killed in an earlier run
//	cache.go             results of earlier runs
//	binary.go            tests that are compiled and run with one mutant
//	overlay.go           the sources with all mutations in them
//	testindex.go         where a test is, and which tags it needs
//	listed.go            heart.txt and equivalent.txt
//	mark.go              finds marks in comments
//	generate.go          finds what may be mutated
//	source.go            a source file and the mutations of it
//	edit.go              texts around and in place of texts
package main
