package main

import (
	"fmt"

	"github.com/dustin/go-humanize"

	"tidemark/internal/cli"
	"tidemark/pkg/mtree/mirror"
)

// progress returns a function that shows how far a pass has come: files, bytes, rate,
// and how many steps are left, as far as is known.
func progress(env *cli.Env) func(mirror.Progress) {
	return func(p mirror.Progress) {
		if p.Done {
			env.Progress("")
			return
		}
		rate := float64(p.Bytes) / p.Took.Seconds()
		env.Progress(fmt.Sprintf("%d directories, %d of %d files, %s of %s, %s/s, %d steps left", p.Listed, p.Fetched, p.WantFiles,
			humanize.IBytes(uint64(p.Bytes)), humanize.IBytes(uint64(p.WantBytes)), humanize.IBytes(uint64(rate)), p.Pending))
	}
}
