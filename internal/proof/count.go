package proof

import (
	"fmt"
	"os"
)

// envCounts names the file to which counts go.
const envCounts = "PROOF_COUNTS"

// Count adds n to the count of what was tried, by a name in the plural: "worlds",
// "answers replaced", "power cuts". make soak shows the sums in its table. Call it for a
// whole round rather than for each step: it appends a line to the file in PROOF_COUNTS,
// and does nothing without it.
func Count(what string, n int) {
	name := os.Getenv(envCounts)
	if name == "" || n == 0 {
		return
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err == nil {
		_, err = fmt.Fprintf(file, "%d\t%s\n", n, what)
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}
	if err != nil {
		panic("proof: counting: " + err.Error()) // a table without it would lie
	}
}
