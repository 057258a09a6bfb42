// Large measures a large file that changes, beside rsync from its daemon on loopback: a log that grows
// for a while, and an image that is changed in places. It counts all bytes on the wire, headers
// included, and the processor time of both sides.
//
//	go run ./bench/large [-size BYTES] [-rate BYTES] [-for 1m] [-dir DIR] [-to DIR] [log] [image]
//
// The log: mirror follows it. rsync --append-verify runs again and again, with no pause between.
// The image: 1 % of it is rewritten, in pages of 4 KiB at random, and in runs of 1 MiB. mirror --once
// and rsync --inplace bring the copy up to date, once each.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tidemark/bench/report"
	"tidemark/bench/rig"
)

func main() {
	b := bench{}
	flag.Int64Var(&b.size, "size", 1<<30, "bytes of the file")
	flag.Int64Var(&b.rate, "rate", 100<<10, "bytes a second by which the log grows")
	flag.DurationVar(&b.length, "for", time.Minute, "how long the log grows")
	b.options.Main("large", 0, b.run)
}

// bench is what is measured, and with what.
type bench struct {
	options rig.Options
	size    int64
	rate    int64
	length  time.Duration

	source, copies string
	serve, daemon  *rig.Program
	web, rsync     *rig.Proxy // before them

	works []string                   // what was measured, in order
	rows  map[string][2][]report.Row // for each, bytes and processor time
}

// cost is what one way to bring a copy up to date cost.
type cost struct {
	wire         int64 // bytes
	took         time.Duration
	source, copy time.Duration // processor time of the two sides
	passes       int
}

// found prints what a tool cost, and keeps it for the file of -json.
func (b *bench) found(work, tool string, c cost) {
	c.print(work + ": " + tool)
	if b.rows == nil {
		b.rows = map[string][2][]report.Row{}
	}
	if b.rows[work][0] == nil {
		b.works = append(b.works, work)
	}
	name := tool
	if strings.HasPrefix(tool, "mirror") {
		name = report.Own
	}
	rows := b.rows[work]
	rows[0] = append(rows[0], report.Row{Tool: name, Samples: []float64{float64(c.wire) / 1e6}})
	rows[1] = append(rows[1], report.Row{Tool: name, Samples: []float64{(c.source + c.copy).Seconds()}})
	b.rows[work] = rows
}

// questions makes a report of all that was found.
func (b *bench) questions() {
	for _, work := range b.works {
		b.options.Found.Add(report.Question{Name: "large-wire", Title: "Large files that change: bytes on the wire", Unit: "MB"}, report.Case{Name: work, Rows: b.rows[work][0]})
		b.options.Found.Add(report.Question{Name: "large-processor", Title: "Large files that change: processor time of both sides", Unit: "s"},
			report.Case{Name: work, Rows: b.rows[work][1]})
	}
}

func (c cost) print(what string) {
	fmt.Printf("%-44s %9.2f MB on the wire, %6.1f s, processor: source %5.1f s, copy %5.1f s, %d passes\n",
		what, float64(c.wire)/1e6, c.took.Seconds(), c.source.Seconds(), c.copy.Seconds(), c.passes)
}

func (b *bench) run() error {
	work, copies, remove, err := b.options.Scratch()
	if err != nil {
		return err
	}
	defer remove()
	b.source, b.copies = filepath.Join(work, "source"), copies
	if err := os.Mkdir(b.source, 0o755); err != nil {
		return err
	}
	stop, err := b.start(work)
	defer stop()
	if err != nil {
		return err
	}
	defer b.questions()
	for _, part := range []struct {
		name    string
		measure func() error
	}{{"log", b.log}, {"image", b.image}} {
		if !b.options.Wants(part.name) {
			continue
		}
		if err := part.measure(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// start starts watch, serve and the rsync daemon, each server behind a proxy that counts.
func (b *bench) start(work string) (stop func(), err error) {
	var programs []*rig.Program
	stop = func() {
		for _, p := range programs {
			p.Stop()
		}
	}
	at, err := rig.FreeAddress()
	if err != nil {
		return stop, err
	}
	port, err := rig.FreePort()
	if err != nil {
		return stop, err
	}
	config := filepath.Join(work, "rsyncd.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, "use chroot = no\n[tree]\npath = %s\nread only = yes\n", b.source), 0o644); err != nil {
		return stop, err
	}
	for _, c := range []struct {
		ready string
		args  []string
	}{
		{"armed", []string{"bin/watch", b.source}},
		{"address=", []string{"bin/serve", "--listen", at, b.source}},
		{"", []string{"rsync", "--daemon", "--no-detach", "--address=127.0.0.1", "--port=" + port, "--config=" + config}},
	} {
		p, err := rig.Start(work, c.args[0], c.args[1:]...)
		if err != nil {
			return stop, err
		}
		programs = append(programs, p)
		if err := p.WaitFor(c.ready); err != nil {
			return stop, err
		}
	}
	b.serve, b.daemon = programs[1], programs[2]
	if b.web, err = rig.NewProxy(at); err == nil {
		b.rsync, err = rig.NewProxy("127.0.0.1:" + port)
	}
	return stop, err
}

// fill makes a file of random bytes.
func fill(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	random, buf := rand.NewChaCha8([32]byte{1}), make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(buf)) {
		_, _ = random.Read(buf)
		if _, err := f.Write(buf[:min(int64(len(buf)), size-at)]); err != nil {
			return err
		}
	}
	return nil
}

// log measures a log that grows, for each tool with a log of its own.
func (b *bench) log() error {
	path := filepath.Join(b.source, "log")
	if err := fill(path, b.size); err != nil {
		return err
	}
	defer os.Remove(path)
	if err := b.followLog(path, filepath.Join(b.copies, "log-tidemark")); err != nil {
		return err
	}
	return b.rsyncLog(path, filepath.Join(b.copies, "log-rsync"))
}

// followLog measures mirror.
func (b *bench) followLog(path, to string) error {
	m, err := rig.Start(b.copies, "bin/mirror", "http://"+b.web.Address()+"/", to)
	if err != nil {
		return err
	}
	defer m.Stop()
	if err := m.WaitFor("listed [0-9]+ dir"); err != nil {
		return err
	}
	before, wire, passes := b.cpu(m), b.web.Bytes(), strings.Count(m.Log(), "listed ")
	began := time.Now()
	if err := b.grow(path); err != nil {
		return err
	}
	if err := rig.Await(func() bool { return same(path, filepath.Join(to, "log")) }); err != nil {
		return fmt.Errorf("%w\n%s", err, m.Log())
	}
	after := b.cpu(m)
	b.found(b.growth(), "mirror", cost{b.web.Bytes() - wire, time.Since(began), after[0] - before[0], after[1] - before[1], strings.Count(m.Log(), "listed ") - passes})
	return os.RemoveAll(to)
}

// growth says how the log grows.
func (b *bench) growth() string {
	return fmt.Sprintf("log that grows by %s KiB a second for %s", report.Thousands(int(b.rate>>10)), b.length)
}

// cpu returns the processor time of serve and of mirror so far.
func (b *bench) cpu(m *rig.Program) (both [2]time.Duration) {
	for i, p := range []*rig.Program{b.serve, m} {
		c, _ := p.Counts()
		both[i] = c.CPU
	}
	return both
}

// grow appends to the log, ten times a second, as long as it is to grow.
func (b *bench) grow(path string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	random, line := rand.NewChaCha8([32]byte{2}), make([]byte, b.rate/10)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(b.length); time.Now().Before(end); <-tick.C {
		_, _ = random.Read(line)
		if _, err := f.Write(line); err != nil {
			return err
		}
	}
	return nil
}

// rsyncLog measures rsync, run after run while the log grows, and once more.
func (b *bench) rsyncLog(path, to string) error {
	args := []string{"-a", "--append-verify", "rsync://" + b.rsync.Address() + "/tree/", to + "/"}
	if err := exec.Command("rsync", args...).Run(); err != nil {
		return err
	}
	var c cost
	daemon, wire := childCPU(b.daemon), b.rsync.Bytes()
	done, ended := make(chan struct{}), make(chan error, 1)
	began := time.Now()
	once := func() error {
		c.passes++
		cmd := exec.Command("rsync", args...)
		err := cmd.Run()
		c.copy += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		return err
	}
	go func() {
		var err error
		for err == nil {
			select {
			case <-done:
				ended <- once()
				return
			default:
				err = once()
			}
		}
		ended <- err
	}()
	err := b.grow(path)
	close(done)
	if err != nil {
		return err
	}
	if err := <-ended; err != nil {
		return err
	}
	if !same(path, filepath.Join(to, "log")) {
		return fmt.Errorf("rsync's copy is another")
	}
	c.wire, c.took, c.source = b.rsync.Bytes()-wire, time.Since(began), childCPU(b.daemon)-daemon
	b.found(b.growth(), "rsync --append-verify", c)
	return os.RemoveAll(to)
}

// childCPU returns the processor time of the ended children of a program.
func childCPU(p *rig.Program) time.Duration {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.ParseInt(fields[13], 10, 64)
	system, _ := strconv.ParseInt(fields[14], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// image measures an image that is changed in places.
func (b *bench) image() error {
	path := filepath.Join(b.source, "image")
	if err := fill(path, b.size); err != nil {
		return err
	}
	defer os.Remove(path)
	web, inplace, aside := filepath.Join(b.copies, "image-tidemark"), filepath.Join(b.copies, "image-inplace"), filepath.Join(b.copies, "image-rsync")
	from := "rsync://" + b.rsync.Address() + "/tree/"
	tools := []struct {
		name string
		to   string
		args []string
	}{
		{"mirror --once", web, []string{"bin/mirror", "--once", "http://" + b.web.Address() + "/", web}},
		{"rsync --inplace", inplace, []string{"rsync", "-a", "--inplace", from, inplace + "/"}},
		{"rsync", aside, []string{"rsync", "-a", from, aside + "/"}},
	}
	for _, t := range tools {
		if _, err := b.once(t.args); err != nil {
			return err
		}
	}
	for _, length := range []int64{4 << 10, 1 << 20} {
		if err := rewrite(path, b.size, length); err != nil {
			return err
		}
		<-time.After(time.Second) // watch has published it
		for _, t := range tools {
			c, err := b.once(t.args)
			if err != nil {
				return err
			}
			if !same(path, filepath.Join(t.to, "image")) {
				return fmt.Errorf("the copy of %s is another", t.name)
			}
			b.found(fmt.Sprintf("image, 1 %% in runs of %d KiB", length>>10), t.name, c)
		}
	}
	return nil
}

// once runs a tool, and returns what that cost.
func (b *bench) once(args []string) (c cost, err error) {
	counts, _ := b.serve.Counts()
	source, wire := counts.CPU+childCPU(b.daemon), b.web.Bytes()+b.rsync.Bytes()
	cmd, began := exec.Command(args[0], args[1:]...), time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return c, fmt.Errorf("%w: %s", err, out)
	}
	c.took, c.passes = time.Since(began), 1
	c.copy = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	counts, _ = b.serve.Counts()
	c.source, c.wire = counts.CPU+childCPU(b.daemon)-source, b.web.Bytes()+b.rsync.Bytes()-wire
	return c, nil
}

// rewrite changes 1 % of a file in runs of this length, at random places.
func rewrite(path string, size, length int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	random, buf := rand.NewChaCha8([32]byte{3, byte(length >> 12)}), make([]byte, length)
	for range size / 100 / length {
		_, _ = random.Read(buf)
		at := int64(random.Uint64()%uint64(size/length)) * length
		if _, err := f.WriteAt(buf, at); err != nil {
			return err
		}
	}
	return nil
}

// same reports whether two files are equal.
func same(a, b string) bool { return exec.Command("cmp", "-s", a, b).Run() == nil }
