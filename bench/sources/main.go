// Sources measures the time from the death of the first of two sources, by SIGKILL, until a change that was
// made right after it can be read in the copy: where the second is another serve of the tree, and where it is
// the serve of a copy of the tree, which costs a full walk.
//
//	make all && go run ./bench/sources [-rounds N]
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"tidemark/bench/rig"
)

func main() {
	rounds := flag.Int("rounds", 11, "how often the first source dies")
	flag.Parse()
	if err := run(*rounds); err != nil {
		fmt.Fprintln(os.Stderr, "sources:", err)
		os.Exit(1)
	}
}

// stage is the tree, its copy and the programs, by what they are.
type stage struct {
	dir     string
	leaf    string // a directory of the tree
	address map[string]string
	running map[string]*rig.Program
	written int
}

func run(rounds int) error {
	dir, err := rig.Scratch("")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	leaves, err := rig.Tree(filepath.Join(dir, "tree"), 40, 25, 20, 20)
	if err != nil {
		return err
	}
	s := &stage{dir: dir, leaf: leaves[0], address: map[string]string{}, running: map[string]*rig.Program{}}
	defer s.end()
	if err := s.begin(); err != nil {
		return err
	}
	for _, second := range []string{"another serve of the tree", "a copy of the tree"} {
		took, err := s.measure(second, rounds)
		if err != nil {
			return err
		}
		fmt.Printf("then %s: median %v, %v to %v\n", second, rig.Quantile(took, 0.5).Round(time.Millisecond),
			slices.Min(took).Round(time.Millisecond), slices.Max(took).Round(time.Millisecond))
	}
	return nil
}

// begin starts everything but the first serve and the mirror.
func (s *stage) begin() (err error) {
	for _, name := range []string{"first", "another serve of the tree", "a copy of the tree"} {
		if s.address[name], err = rig.FreeAddress(); err != nil {
			return err
		}
	}
	tree, hop := filepath.Join(s.dir, "tree"), filepath.Join(s.dir, "hop")
	if err := s.start("watch", "armed", "watch", tree); err != nil {
		return err
	}
	if err := s.serve("another serve of the tree", tree); err != nil {
		return err
	}
	if err := s.start("hop", "listed [0-9]+ dir", "mirror", "http://"+s.address["another serve of the tree"]+"/", hop); err != nil {
		return err
	}
	return s.serve("a copy of the tree", hop)
}

func (s *stage) serve(name, root string) error {
	return s.start(name, "address=", "serve", "--listen", s.address[name], root)
}

// start starts a program, and waits until it says what ready says.
func (s *stage) start(name, ready string, command ...string) (err error) {
	if s.running[name], err = rig.Start(s.dir, "bin/"+command[0], command[1:]...); err != nil {
		return err
	}
	return s.running[name].WaitFor(ready)
}

// kill ends a program without a warning.
func (s *stage) kill(name string) {
	if p := s.running[name]; p != nil {
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
		p.Stop()
		delete(s.running, name)
	}
}

func (s *stage) end() {
	for name := range s.running {
		s.kill(name)
	}
}

// measure lets the first source die, and returns how long a change then took.
func (s *stage) measure(second string, rounds int) (took []time.Duration, err error) {
	copied := filepath.Join(s.dir, "copy of "+second)
	for range rounds {
		if err := s.serve("first", filepath.Join(s.dir, "tree")); err != nil {
			return nil, err
		}
		if err := s.start("mirror", "number=1", "mirror", "http://"+s.address["first"]+"/", "http://"+s.address[second]+"/", copied); err != nil {
			return nil, err
		}
		if _, err := s.write(copied, filepath.Join(s.dir, "hop")); err != nil { // the mirror follows now
			return nil, err
		}
		<-time.After(500 * time.Millisecond)
		s.kill("first")
		d, err := s.write(copied)
		if err != nil {
			return nil, err
		}
		took = append(took, d)
		s.kill("mirror")
	}
	return took, nil
}

// write changes a file, and returns how long it took until all of the copies had it.
func (s *stage) write(copies ...string) (time.Duration, error) {
	s.written++
	text := fmt.Sprint("change ", s.written)
	path := filepath.Join(s.leaf, "changing")
	began := time.Now()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return 0, err
	}
	below, err := filepath.Rel(filepath.Join(s.dir, "tree"), path)
	if err != nil {
		return 0, err
	}
	for _, c := range copies {
		err := rig.Await(func() bool {
			is, err := os.ReadFile(filepath.Join(c, below))
			return err == nil && string(is) == text
		})
		if err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}
