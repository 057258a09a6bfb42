// Firstcopy measures, side by side in one run, how long it takes to copy a tree of which
// the other side has nothing: mirror over HTTP, rsync from its daemon on loopback, and
// tar | tar, for which only the two file systems set the pace.
//
//	go run ./bench/firstcopy [-files 100000] [-large BYTES [-data BYTES]] [-again] [-linked PERCENT] [-rounds 5] [-dir DIR] [-to DIR] [tool...]
//
// With -to the copies are on another file system than the tree.
//
// With -large the tree is one file of BYTES bytes, and curl copies it too. With -data it is a
// sparse file with so many bytes of data, in pieces of 1 MiB: mirror --sparse and rsync -S copy it,
// each also from the directory, and the copies must be as sparse. With -again
// the copies are made beforehand, and it times the run that finds nothing changed. With
// -linked so many of a hundred names are hard links, which all tools copy (mirror
// --hard-links, rsync -H), and the links of each copy are compared with those of the tree.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"tidemark/bench/rig"
)

type options struct {
	rig.Options
	rounds int
	large  int64
	data   int64
	again  bool
	linked int
}

func main() {
	var o options
	flag.Int64Var(&o.large, "large", 0, "instead one file of so many bytes")
	flag.Int64Var(&o.data, "data", -1, "of these bytes so many are no hole; below 0: all")
	flag.BoolVar(&o.again, "again", false, "time the run after the first copy")
	flag.IntVar(&o.linked, "linked", 0, "how many of a hundred names are hard links")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each tool runs")
	o.Main("firstcopy", 100_000, func() error { return run(&o) })
}

const (
	serveAddress = "127.0.0.1:18180"
	rsyncPort    = "18181"
	metrics      = "127.0.0.1:18182"
)

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
	stop, err := startServers(work, source)
	defer stop()
	if err != nil {
		return err
	}
	var tools []rig.Tool
	for _, t := range allTools(copies, source, o) {
		if o.Wants(t.Name) {
			tools = append(tools, t)
		}
	}
	for i := range tools {
		if !o.again {
			break
		}
		if _, err := tools[i].Run(); err != nil {
			return err
		}
	}
	o.Hold()
	all, err := rig.Rounds(o.rounds, tools, func(tool string, round int, c rig.Cost) {
		fmt.Fprintf(os.Stderr, "round %d: %-12s %.3fs, CPU %.2fs\n", round+1, tool, c.Wall.Seconds(), c.CPU.Seconds())
	})
	if err != nil {
		return err
	}
	rig.Table(tools, all)
	return nil
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

// startServers starts watch, serve and the rsync daemon on source.
func startServers(work, source string) (stop func(), err error) {
	config := filepath.Join(work, "rsyncd.conf")
	text := fmt.Sprintf("use chroot = no\nlog file = /dev/null\n[tree]\npath = %s\nuid = root\ngid = root\nexclude = /.tidemark\n", source)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return func() {}, err
	}
	var servers []*rig.Program
	stop = func() {
		for _, p := range servers {
			p.Stop()
		}
	}
	for _, command := range [][]string{
		{"armed", "bin/watch", source},
		{"address=", "bin/serve", "--listen", serveAddress, "--metrics", metrics, source},
		{"", "rsync", "--daemon", "--no-detach", "--address=127.0.0.1", "--port=" + rsyncPort, "--config=" + config},
	} {
		p, err := rig.Start(work, command[1], command[2:]...)
		if err != nil {
			return stop, err
		}
		servers = append(servers, p)
		if err := p.WaitFor(command[0]); err != nil {
			return stop, err
		}
	}
	return stop, rig.Await(func() bool {
		return exec.Command("rsync", "rsync://127.0.0.1:"+rsyncPort+"/").Run() == nil
	})
}

func allTools(copies, source string, o *options) []rig.Tool {
	url := "http://" + serveAddress + "/"
	mirror, archive := []string{"bin/mirror", "--once"}, "-a"
	if o.linked > 0 {
		mirror, archive = append(mirror, "--hard-links"), "-aH"
	}
	copyBy := func(name string, command func(to string) []string) rig.Tool {
		to := filepath.Join(copies, "copy-"+name)
		return rig.Tool{Name: name, Run: func() (rig.Cost, error) { return copyOnce(source, to, command(to), o) }}
	}
	if o.data >= 0 {
		from := "rsync://127.0.0.1:" + rsyncPort + "/tree/"
		return []rig.Tool{
			copyBy("tidemark", func(to string) []string { return []string{"bin/mirror", "--once", "--sparse", url, to} }),
			copyBy("rsync", func(to string) []string { return []string{"rsync", "-aS", from, to + "/"} }),
			copyBy("tidemark-local", func(to string) []string { return []string{"bin/mirror", "--once", "--sparse", source, to} }),
			copyBy("rsync-local", func(to string) []string {
				return []string{"rsync", "-aS", "--exclude=/.tidemark", source + "/", to + "/"}
			}),
		}
	}
	tools := []rig.Tool{
		copyBy("tidemark", func(to string) []string { return append(slices.Clip(mirror), url, to) }),
		copyBy("rsync", func(to string) []string {
			return []string{"rsync", archive, "rsync://127.0.0.1:" + rsyncPort + "/tree/", to + "/"}
		}),
		copyBy("tar", func(to string) []string {
			return []string{"sh", "-c", fmt.Sprintf("tar -C %s --exclude ./.tidemark -cf - . | tar -C %s -xf -", source, to)}
		}),
	}
	if o.large > 0 {
		tools = append(tools, copyBy("curl", func(to string) []string { return []string{"curl", "-sSfo", to + "/large", url + "large"} }))
	}
	return tools
}

// copyOnce runs a command into a new directory, or again into its own, checks that
// everything arrived, and removes the copy unless it is needed again.
func copyOnce(source, to string, command []string, o *options) (cost rig.Cost, err error) {
	if err := os.Mkdir(to, 0o755); err != nil && !o.again {
		return cost, err
	}
	if cost, err = rig.Command(command...); err != nil {
		return cost, err
	}
	err = rig.SameSize(source, to)
	if err == nil && o.linked > 0 {
		err = rig.SameLinks(source, to)
	}
	if err != nil || o.again {
		return cost, err
	}
	if o.data >= 0 {
		if err := isSparse(filepath.Join(to, "large"), o.data); err != nil {
			return cost, err
		}
	}
	if o.again {
		return cost, nil
	}
	err = os.RemoveAll(to)
	<-time.After(200 * time.Millisecond) // the kernel frees memory meanwhile
	return cost, err
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
