package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tidemark/bench/report"
	"tidemark/bench/rig"
)

// rows measures one thing after another and prints each as it is known.
func (b *bench) rows() error {
	random, err := b.script("random", `math.randomseed(os.time())
request = function() return wrk.format("GET", string.format("/small/file-%05d.txt", math.random(0, `+fmt.Sprint(smallFiles-1)+`))) end`)
	if err != nil {
		return err
	}
	var list strings.Builder
	for i := range smallFiles {
		fmt.Fprintf(&list, "file-%05d.txt\\n", i)
	}
	bulk, err := b.script("bulk", `wrk.method = "POST"; wrk.body = "`+list.String()+`"`)
	if err != nil {
		return err
	}
	tag, err := tagOf(served + "/?txt")
	if err != nil {
		return err
	}
	unchanged, err := b.script("unchanged", `wrk.headers["If-None-Match"] = '`+tag+`'`)
	if err != nil {
		return err
	}
	one := load{url: nginx, script: random, connections: 16}
	fmt.Println("what | serve | peer | ratio | goal")
	for _, row := range []row{
		{"listing of 100, text", load{url: served + "/d100/?txt"}, load{url: nginx + "/d100/"}, 1, "3", ""},
		{"listing of 100, HTML", load{url: served + "/d100/?html"}, load{url: nginx + "/d100/"}, 1, "3", ""},
		{"listing of 10,000 unchanged, text", load{url: served + "/d10000/?txt"}, load{url: nginx + "/d10000/"}, 1, "20", ""},
		{"listing of 10,000 unchanged, HTML", load{url: served + "/d10000/?html"}, load{url: nginx + "/d10000/"}, 1, "20", ""},
		{"listing of 10,000, nothing kept, asked for by 16, text", load{url: uncached + "/d10000/?txt"}, load{url: nginx + "/d10000/"}, 1, "2", ""},
		{"listing of 10,000, nothing kept, asked for by 16, HTML", load{url: uncached + "/d10000/?html"}, load{url: nginx + "/d10000/"}, 1, "2", ""},
		{"listing of 10,000 read for each request, text", load{url: uncached + "/d10000/?txt", connections: 1}, load{url: nginx + "/d10000/", connections: 1}, 1, "2", ""},
		{"listing of 10,000 that changes 100 times a second, text", load{url: served + "/d10000/?txt"}, load{url: nginx + "/d10000/"}, 1, "2", "d10000/file-05000.txt"},
		{"small files, singly", load{url: served, script: random}, one, 1, "0.6", ""},
		{"bare net/http, 2 KiB from memory", load{url: bare + "/"}, one, 1, "", ""},
		{"small files, POST ?tar of 1,000 beside single ones", load{url: served + "/small/?tar", script: bulk, connections: 4}, one, smallFiles, "2", ""},
		{"304 on the root", load{url: served + "/?txt", script: unchanged}, load{url: bare + "/"}, 1, "", ""},
	} {
		if strings.Contains(row.name, b.only) {
			if err := b.compare(row); err != nil {
				return err
			}
		}
	}
	for _, row := range []func(*bench, string) error{(*bench).largeFile, (*bench).cpuOf304, (*bench).waiters} {
		if err := row(b, unchanged); err != nil {
			return err
		}
	}
	return nil
}

// row is one comparison. What serve does counts factor times. Meanwhile somebody writes to
// the file changing.
type row struct {
	name     string
	ours     load
	theirs   load
	factor   float64
	goal     string
	changing string
}

func (b *bench) compare(r row) error {
	if r.changing != "" {
		stop := make(chan struct{})
		defer close(stop)
		go change(filepath.Join(b.tree, r.changing), stop)
	}
	var ours, theirs []float64
	for range b.rounds {
		x, err := b.wrk(r.ours)
		if err != nil {
			return err
		}
		y, err := b.wrk(r.theirs)
		if err != nil {
			return err
		}
		ours, theirs = append(ours, x.requests*r.factor), append(theirs, y.requests)
	}
	b.tell(r, ours, theirs, "/s")
	return nil
}

// change writes to a file 100 times a second.
func change(path string, stop <-chan struct{}) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-tick.C:
			_ = os.WriteFile(path, fmt.Append(nil, i), 0o644) // the figures would show it
		}
	}
}

// tell prints a row, and keeps it for the file of -json unless it is about none of the two servers.
func (b *bench) tell(r row, ours, theirs []float64, unit string) {
	tool := map[bool]string{true: "bare net/http", false: "nginx"}[strings.HasPrefix(r.theirs.url, bare)]
	if !strings.HasPrefix(r.ours.url, bare) {
		b.found.Add(questionOf(r.name), report.Case{Name: r.name, Rows: []report.Row{rateRow(report.Own, ours), rateRow(tool, theirs)}})
	}
	x, y := rig.Quantile(ours, 0.5), rig.Quantile(theirs, 0.5)
	fmt.Printf("%s | %.0f%s (%.0f to %.0f) | %.0f%s (%.0f to %.0f) | %.2f | %s\n",
		r.name, x, unit, ours[0], ours[len(ours)-1], y, unit, theirs[0], theirs[len(theirs)-1], x/y, r.goal)
}

// rateRow makes a row of a report. A rate of nothing is none: the server was too slow for the time that it had.
func rateRow(tool string, rates []float64) report.Row {
	if slices.Min(rates) <= 0 {
		return report.Row{Tool: tool, Failed: "no request was answered in the time of a round"}
	}
	return report.Row{Tool: tool, Samples: slices.Clone(rates)}
}

// questionOf returns the plot that a row belongs to.
func questionOf(name string) report.Question {
	switch {
	case strings.HasPrefix(name, "listing"):
		return report.Question{Name: "listing", Title: "Listings", Unit: "requests/s", More: true}
	case strings.HasPrefix(name, largeFile):
		return report.Question{Name: "large-file", Title: "One large file", Unit: "MiB/s", More: true}
	}
	return report.Question{Name: "small-files", Title: "Small files, and a root that has not changed", Unit: "files/s", More: true}
}

// largeFile is the name of a row.
const largeFile = "one file of 256 MiB"

// largeFile compares the bytes per second of one file of 256 MiB.
func (b *bench) largeFile(string) error {
	if !strings.Contains(largeFile, b.only) {
		return nil
	}
	var ours, theirs []float64
	for range b.rounds {
		for _, side := range []struct {
			url string
			all *[]float64
		}{{served, &ours}, {nginx, &theirs}} {
			m, err := b.wrk(load{url: side.url + "/big", connections: 2})
			if err != nil {
				return err
			}
			*side.all = append(*side.all, m.bytes/(1<<20))
		}
	}
	b.tell(row{name: largeFile, ours: load{url: served}, theirs: load{url: nginx}, goal: "0.9"}, ours, theirs, " MiB/s")
	return nil
}

// cpuOf304 returns the processor time that serve needs for a conditional request for
// the root.
func (b *bench) cpuOf304(script string) error {
	if !strings.Contains("processor time of a 304", b.only) {
		return nil
	}
	before, err := b.serve.Counts()
	if err != nil {
		return err
	}
	begun := time.Now()
	m, err := b.wrk(load{url: served + "/?txt", script: script, connections: 4})
	if err != nil {
		return err
	}
	length := time.Since(begun).Seconds()
	after, err := b.serve.Counts()
	if err != nil {
		return err
	}
	fmt.Printf("processor time of a 304 | %.1f us | | | < 50\n", (after.CPU-before.CPU).Seconds()*1e6/(m.requests*length))
	return nil
}

// load is the work of wrk.
type load struct {
	url         string
	script      string
	connections int // 0: 16
}

type measured struct{ requests, bytes float64 } // per second

func (b *bench) wrk(l load) (measured, error) {
	if l.connections == 0 {
		l.connections = 16
	}
	args := []string{"-t1", fmt.Sprintf("-c%d", l.connections), fmt.Sprintf("-d%ds", b.seconds)}
	if l.script != "" {
		args = append(args, "-s", l.script)
	}
	out, err := exec.Command("wrk", append(args, l.url)...).CombinedOutput()
	if err != nil {
		return measured{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	text := string(out)
	if strings.Contains(text, "Non-2xx") && !strings.Contains(l.script, "unchanged") {
		return measured{}, fmt.Errorf("wrk %s: %s", l.url, text)
	}
	return measured{number(text, `Requests/sec:\s+([0-9.]+)`, ""), number(text, `Transfer/sec:\s+([0-9.]+)([KMG]?)B`, "KMG")}, nil
}

func (b *bench) script(name, text string) (string, error) {
	path := filepath.Join(b.work, name+".lua")
	return path, os.WriteFile(path, []byte(text), 0o644)
}

func tagOf(url string) (string, error) {
	response, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.Header.Get("ETag"), err
}

// answering waits until every URL gives an answer, 10 s at most.
func answering(urls ...string) error {
	for _, url := range urls {
		var err error
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
			if _, err = tagOf(url); err == nil {
				break
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
