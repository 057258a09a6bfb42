package main

import (
	"tidemark/internal/cli"
	"tidemark/pkg/mtree/mirror"
)

// progress returns a function that shows on the terminal how far a pass has come, as wide as the
// terminal is at that moment.
func progress(env *cli.Env) func(mirror.Progress) {
	return func(p mirror.Progress) {
		if p.Done {
			env.Progress("")
			return
		}
		env.Progress(p.Line(env.Columns()))
	}
}
