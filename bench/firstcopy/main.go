// Firstcopy measures, side by side in one run, how long it takes to copy a tree of which
// the other side has nothing: mirror over HTTP, rsync from its daemon on loopback, tar | tar, for
// which only the two file systems set the pace, and all other peers of bench/peers. A peer that is
// missing is named, and one that fails; each copy is compared with the tree.
//
//	go run ./bench/firstcopy [-files 100000] [-large BYTES [-data BYTES]] [-again] [-linked PERCENT] [-rounds 5] [-dir DIR] [-to DIR] [tool...]
//
// With -to the copies are on another file system than the tree.
//
// Tools are named as in the table, without what follows the first word: tidemark, rsync, lftp.
//
// With -large the tree is one file of BYTES bytes, and curl copies it too. With -data it is a
// sparse file with so many bytes of data, in pieces of 1 MiB: mirror --sparse and rsync -S copy it,
// each also from the directory, and the copies must be as sparse. With -again
// the copies are made beforehand, and it times the run that finds nothing changed. With
// -linked so many of a hundred names are hard links, which all tools copy (mirror
// --hard-links, rsync -H), and the links of each copy are compared with those of the tree.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"tidemark/bench/peers"
	"tidemark/bench/report"
	"tidemark/bench/rig"
)

type options struct {
	rig.Options
	rounds int
	large  int64
	data   int64
	again  bool
	linked int
	enough time.Duration
}

func main() {
	var o options
	flag.Int64Var(&o.large, "large", 0, "instead one file of so many bytes")
	flag.Int64Var(&o.data, "data", -1, "of these bytes so many are no hole; below 0: all")
	flag.BoolVar(&o.again, "again", false, "time the run after the first copy")
	flag.IntVar(&o.linked, "linked", 0, "how many of a hundred names are hard links")
	flag.DurationVar(&o.enough, "enough", 0, "a tool that took so long in all is not run again; 0: no limit")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each tool runs")
	o.Main("firstcopy", 100_000, func() error { return run(&o) })
}

func run(o *options) error {
	work, copies, remove, err := o.Scratch()
	if err != nil {
		return err
	}
	defer remove()
	source := filepath.Join(work, "source")
	if err := makeSource(source, o); err != nil {
		return err
	}
	var wanted []string
	for _, server := range []string{"rsync", "nginx"} {
		if peers.Missing(server) == "" && (server != "nginx" || o.plain()) {
			wanted = append(wanted, server)
		}
	}
	servers, err := peers.StartServers(work, source, wanted...)
	defer servers.Stop()
	if err != nil {
		return err
	}
	all, stop := allTools(servers, work, source, o)
	defer stop()
	m := measurement{o: o, source: source, copies: copies, failed: map[string]string{}}
	for _, t := range all {
		if o.Wants(strings.Fields(t.Name)[0]) && (t.Again || !o.again) {
			m.prepare(t)
		}
	}
	o.Hold()
	found, err := rig.Rounds(o.rounds, m.tools, func(tool string, round int, c rig.Cost) {
		fmt.Fprintf(os.Stderr, "round %d: %-20s %.3fs, CPU %.2fs\n", round+1, tool, c.Wall.Seconds(), c.CPU.Seconds())
	})
	if err != nil {
		return err
	}
	m.tell(found)
	return nil
}

// plain reports whether all tools can copy the tree.
func (o *options) plain() bool { return o.large == 0 && o.linked == 0 }

// what says what is copied.
func (o *options) what() string {
	files := report.Thousands(o.Files) + " files of 0 to 4 KiB"
	switch {
	case o.data >= 0:
		return fmt.Sprintf("a sparse file of %s MiB, %s of them data", report.Thousands(int(o.large>>20)), report.Thousands(int(o.data>>20)))
	case o.large > 0:
		return fmt.Sprintf("one file of %s MiB", report.Thousands(int(o.large>>20)))
	case o.Files == 0:
		return "the Go source tree"
	case o.linked > 0:
		return fmt.Sprintf("%s, of which %d of a hundred are hard links", files, o.linked)
	case o.Files > 200_000:
		return files + ", 3 of 4 empty"
	}
	return files
}

// measurement is one run.
type measurement struct {
	o              *options
	source, copies string
	tools          []rig.Tool
	asked          []string          // all tools that were asked for, in order
	failed         map[string]string // and why some of them were not measured
}

// prepare adds a tool to those that are measured, if it is here. If the first copy is not to be timed, it is made now.
func (m *measurement) prepare(t peers.Tool) {
	m.asked = append(m.asked, t.Name)
	if missing := peers.Missing(t.Needs...); missing != "" {
		m.failed[t.Name] = missing
		return
	}
	to := filepath.Join(m.copies, "copy-"+strings.Fields(t.Name)[0])
	run := func() (rig.Cost, error) { return m.copyOnce(to, t.Copy) }
	if m.o.again {
		if _, err := run(); err != nil {
			m.failed[t.Name] = report.Brief(err)
			return
		}
	}
	spent := time.Duration(0)
	m.tools = append(m.tools, rig.Tool{Name: t.Name, Run: func() (cost rig.Cost, err error) {
		if m.failed[t.Name] != "" || m.o.enough > 0 && spent >= m.o.enough {
			return cost, rig.ErrFailed
		}
		defer func() { spent += cost.Wall }()
		if cost, err = run(); err != nil && t.Name != report.Own {
			m.failed[t.Name] = report.Brief(err)
			return cost, rig.ErrFailed
		}
		return cost, err
	}})
}

// tell prints a table, and why tools are not in it; and adds both to what is written as JSON.
func (m *measurement) tell(found map[string][]rig.Cost) {
	var measured []rig.Tool
	var rows []report.Row
	for _, name := range m.asked {
		row := report.Row{Tool: name, Failed: m.failed[name]}
		if row.Failed == "" {
			row = rig.Row(name, found[name])
			measured = append(measured, rig.Tool{Name: name})
		}
		rows = append(rows, row)
	}
	rig.Table(measured, found)
	for _, row := range rows {
		if row.Failed != "" {
			fmt.Printf("%-28s not measured: %s\n", row.Tool, row.Failed)
		}
	}
	q := report.Question{Name: "first-copy", Title: "First copy of a tree", Unit: "s"}
	if m.o.again {
		q = report.Question{Name: "no-change", Title: "Finding that nothing has changed", Unit: "s"}
	}
	over, local := splitLocal(rows)
	m.o.Found.Add(q, report.Case{Name: m.o.what(), Rows: over})
	if len(local) > 0 {
		m.o.Found.Add(q, report.Case{Name: m.o.what() + ", from the directory", Rows: local})
	}
}

// splitLocal returns those who copy from a server, and those who copy from the directory: "-local" is cut off.
func splitLocal(rows []report.Row) (over, local []report.Row) {
	for _, row := range rows {
		if name, ok := strings.CutSuffix(row.Tool, "-local"); ok {
			row.Tool = name
			local = append(local, row)
		} else {
			over = append(over, row)
		}
	}
	return over, local
}

func makeSource(source string, o *options) error {
	if err := os.MkdirAll(source, 0o755); err != nil {
		return err
	}
	if o.linked > 0 {
		paths, err := rig.Files(source, o.Files, 4096)
		if err == nil {
			err = rig.Link(source, paths, o.linked)
		}
		return err
	}
	if o.large == 0 {
		return rig.Source(source, o.Files)
	}
	f, err := os.Create(filepath.Join(source, "large"))
	if err != nil {
		return err
	}
	defer f.Close()
	if o.data < 0 {
		_, err = io.CopyN(f, rand.NewChaCha8([32]byte{}), o.large)
		return err
	}
	return writeSparse(f, o.large, o.data)
}

// writeSparse makes a file of size bytes, of which so many are data, in pieces at equal distances.
func writeSparse(f *os.File, size, data int64) error {
	const piece = 1 << 20
	bytes := rand.NewChaCha8([32]byte{})
	for n := int64(0); n < data/piece; n++ {
		if _, err := io.CopyN(io.NewOffsetWriter(f, size/(data/piece)*n), bytes, piece); err != nil {
			return err
		}
	}
	return f.Truncate(size)
}

// allTools returns the tools that can copy the tree.
func allTools(servers *peers.Servers, work, source string, o *options) (tools []peers.Tool, stop func()) {
	if o.plain() {
		return peers.Tools(servers, work, source)
	}
	url, daemon := "http://"+servers.Serve+"/", "rsync://"+servers.Rsync+"/tree/"
	command := func(name string, args func(to string) []string, needs ...string) {
		tools = append(tools, peers.Tool{Name: name, Needs: needs, Again: true, Copy: func(to string) (rig.Cost, error) { return rig.Command(args(to)...) }})
	}
	mirror, archive := []string{"bin/mirror", "--once"}, "-a"
	switch {
	case o.linked > 0:
		mirror, archive = append(mirror, "--hard-links"), "-aH"
	case o.data >= 0:
		mirror, archive = append(mirror, "--sparse"), "-aS"
	}
	command("tidemark", func(to string) []string { return append(slices.Clip(mirror), url, to) })
	command("rsync", func(to string) []string { return []string{"rsync", archive, daemon, to + "/"} }, "rsync")
	switch {
	case o.data >= 0:
		command("tidemark-local", func(to string) []string { return append(slices.Clip(mirror), source, to) })
		command("rsync-local", func(to string) []string {
			return []string{"rsync", archive, "--exclude=/.tidemark", source + "/", to + "/"}
		}, "rsync")
		return tools, func() {}
	case o.large > 0:
		command("curl", func(to string) []string { return []string{"curl", "-sSfo", to + "/large", url + "large"} }, "curl")
	}
	command("tar", func(to string) []string {
		return []string{"sh", "-c", fmt.Sprintf("tar -C %s --exclude ./.tidemark -cf - . | tar -C %s -xf -", source, to)}
	}, "tar")
	return tools, func() {}
}

// copyOnce has a copy made in a new directory, or again in its own, checks that everything arrived, and
// removes the copy unless it is needed again.
func (m *measurement) copyOnce(to string, copy func(to string) (rig.Cost, error)) (cost rig.Cost, err error) {
	o := m.o
	if err := os.Mkdir(to, 0o755); err != nil && !o.again {
		return cost, err
	}
	if !o.again {
		defer func() {
			err = errors.Join(err, os.RemoveAll(to), os.RemoveAll(to+".unison"))
			<-time.After(200 * time.Millisecond) // the kernel frees memory meanwhile
		}()
	}
	if cost, err = copy(to); err != nil {
		return cost, err
	}
	if err := rig.SameContents(m.source, to); err != nil {
		return cost, err
	}
	if o.linked > 0 {
		return cost, rig.SameLinks(m.source, to)
	}
	if o.data >= 0 {
		return cost, isSparse(filepath.Join(to, "large"), o.data)
	}
	return cost, nil
}

// isSparse returns an error unless a file takes hardly more room than its data.
func isSparse(path string, data int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if room := info.Sys().(*syscall.Stat_t).Blocks * 512; room > data+data/100+64<<10 {
		return fmt.Errorf("%s takes %d bytes, of %d bytes of data", path, room, data)
	}
	return nil
}
