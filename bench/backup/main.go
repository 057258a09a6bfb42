// Backup measures, side by side in one run, what it costs to keep what an update overwrites
// and deletes: mirror from a local directory and rsync, each with --backup-dir and without.
//
//	go run ./bench/backup [-files 100000] [-rounds 3] [-dir DIR] [tool...]
//
// In the update half of the files are new, a quarter is gone, and a directory with an eighth of
// them has gone as a whole. With -dir the trees are on a file system of your choice.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"tidemark/bench/report"
	"tidemark/bench/rig"
)

type options struct {
	rig.Options
	rounds int
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "how often each tool runs")
	o.Main("backup", 20_000, func() error { return run(&o) })
}

func run(o *options) error {
	work, _, remove, err := o.Scratch()
	if err != nil {
		return err
	}
	defer remove()
	b := bench{work: work, all: o.Files}
	if err := rig.Source(b.at("one"), o.Files); err != nil {
		return err
	}
	if _, err := rig.Command("cp", "-a", b.at("one"), b.at("two")); err != nil {
		return err
	}
	if b.lost, err = update(b.at("two")); err != nil {
		return err
	}
	var tools []rig.Tool
	for _, t := range b.tools() {
		if o.Wants(t.Name) {
			tools = append(tools, t)
		}
	}
	o.Hold()
	all, err := rig.Rounds(o.rounds, tools, func(tool string, round int, c rig.Cost) {
		fmt.Fprintf(os.Stderr, "round %d: %-20s %.3fs, CPU %.2fs\n", round+1, tool, c.Wall.Seconds(), c.CPU.Seconds())
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d of %d files are overwritten or deleted\n", b.lost, b.all)
	rig.Table(tools, all)
	q := report.Question{Name: "backup", Title: "An update that keeps what it overwrites and deletes", Unit: "s"}
	for _, how := range []struct{ suffix, name string }{{", backup", "with --backup-dir"}, {", none", "without"}} {
		c := report.Case{Name: fmt.Sprintf("%s of %s files, %s", report.Thousands(b.lost), report.Thousands(b.all), how.name)}
		for _, t := range tools {
			if name, ok := strings.CutSuffix(t.Name, how.suffix); ok {
				c.Rows = append(c.Rows, rig.Row(name, all[t.Name]))
			}
		}
		o.Found.Add(q, c)
	}
	return nil
}

type bench struct {
	work      string
	all, lost int
}

func (b *bench) at(name string) string { return filepath.Join(b.work, name) }

// update makes the second version of the tree, and returns how many files of the first one it lacks.
func update(root string) (lost int, err error) {
	n := 0
	top, err := os.ReadDir(root)
	if err != nil {
		return 0, err
	}
	whole := filepath.Join(root, top[0].Name())
	if inner, err := os.ReadDir(whole); err == nil && len(top) == 1 {
		whole = filepath.Join(whole, inner[0].Name()) // one directory holds them all
	}
	err = filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		switch n++; {
		case strings.HasPrefix(path, whole+"/"):
			lost++
		case n%4 == 0:
			lost++
			return os.Remove(path)
		case n%2 == 1:
			lost++
			return os.WriteFile(path, []byte("another version "+path), 0o644)
		}
		return nil
	})
	if err == nil {
		err = os.RemoveAll(whole)
	}
	return lost, err
}

func (b *bench) tools() []rig.Tool {
	mirror := []string{"bin/mirror", "--once", "--max-delete", "100%"}
	rsync := []string{"rsync", "-a", "--modify-window=-1", "--delete"} // else a file of the same second and size counts as equal
	tool := func(name string, kept bool, command ...string) rig.Tool {
		return rig.Tool{Name: name, Run: func() (rig.Cost, error) { return b.once(command, kept) }}
	}
	return []rig.Tool{
		tool("tidemark, backup", true, append(mirror, "--backup-dir", "../kept")...),
		tool("rsync, backup", true, append(rsync, "--backup", "--backup-dir=../kept")...),
		tool("tidemark, none", false, mirror...),
		tool("rsync, none", false, rsync...),
	}
}

// once copies the first version, which is not timed, and then the second one. Then all that is lost must
// be there.
func (b *bench) once(command []string, kept bool) (rig.Cost, error) {
	command = append(command, b.at("source")+"/", b.at("copy"))
	for _, step := range [][]string{
		{"rm", "-rf", b.at("copy"), b.at("kept")}, {"rsync", "-a", "--delete", b.at("one") + "/", b.at("source")}, command,
		{"rsync", "-a", "--modify-window=-1", "--delete", b.at("two") + "/", b.at("source")}, {"rm", "-rf", b.at("kept")}, {"sync", "-f", b.work},
	} {
		if _, err := rig.Command(step...); err != nil {
			return rig.Cost{}, err
		}
	}
	cost, err := rig.Command(command...)
	if err == nil {
		err = rig.SameSize(b.at("source"), b.at("copy"))
	}
	if err != nil || !kept {
		return cost, err
	}
	out, err := exec.Command("find", b.at("kept"), "-type", "f").Output()
	if n := strings.Count(string(out), "\n"); err == nil && n != b.lost {
		err = fmt.Errorf("%d files are kept, want %d", n, b.lost)
	}
	return cost, err
}
