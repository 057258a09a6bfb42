//go:build race

package serve_test

// raceEnabled says that everything costs several times what it does otherwise.
const raceEnabled = true
