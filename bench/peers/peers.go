// Package peers sets up the programs that people mirror with, each as its manual says for one-way copies,
// on loopback, so that benchmarks can compare them. What is compared with what:
//
//   - Tools make a copy once: from a server of the tree, or, those without one, from the directory.
//   - Followers keep a copy equal to a tree until they are stopped.
//
// Programs are those of the distribution, with their defaults but for what is told here. rsync compares times
// by nanoseconds (--modify-window=-1), or it would miss what changes twice in a second.
package peers

import (
	"fmt"
	"os/exec"
	"strings"

	"tidemark/bench/rig"
)

// packages are Debian's, by program, where the names differ.
var packages = map[string]string{
	"inotifywait": "inotify-tools",
	"nginx":       "nginx-light",
}

// Missing says which of the programs are not installed, and where to get them; "" if all are.
func Missing(programs ...string) string {
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			from := p
			if packages[p] != "" {
				from = packages[p]
			}
			missing = append(missing, fmt.Sprintf("no %s here (apt-get install %s)", p, from))
		}
	}
	return strings.Join(missing, "; ")
}

// Programs are those of one peer.
type Programs []*rig.Program

// start starts one more program, and waits until it says that it is ready.
func (p *Programs) start(work, ready string, command ...string) (*rig.Program, error) {
	program, err := rig.Start(work, command[0], command[1:]...)
	if err != nil {
		return nil, err
	}
	*p = append(*p, program)
	return program, program.WaitFor(ready)
}

// Stop ends all of them, the last one first.
func (p *Programs) Stop() {
	for i := len(*p) - 1; i >= 0; i-- {
		(*p)[i].Stop()
	}
	*p = nil
}

// Log returns what they wrote.
func (p Programs) Log() string {
	var b strings.Builder
	for _, program := range p {
		b.WriteString(program.Log())
	}
	return b.String()
}
