package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tidemark/bench/rig"
)

// followRate is how many changes a second the clients follow.
const followRate = 100

// crowd measures what clients that follow all changes cost serve. They read answers and
// write nothing.
func (b *bench) crowd(work string) error {
	note("%d clients", b.clients)
	var places [2]*place
	for i, build := range b.builds {
		home := filepath.Join(work, build.name)
		p := &place{build: build, source: filepath.Join(home, "source"), logs: home}
		p.copy = p.source // what is written has arrived at once
		var err error
		if p.files, err = rig.Files(p.source, b.followed, 4096); err != nil {
			return err
		}
		places[i] = p
	}
	var each, sent [2][]float64
	err := turns(b.rounds, func(i int) error {
		cpu, bytes, err := b.follows(places[i], i == 1)
		each[i], sent[i] = append(each[i], cpu), append(sent[i], bytes)
		return err
	})
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d clients follow %d changes a second among %s files: ", b.clients, followRate, thousands(int64(b.followed)))
	medians(what+"processor time of serve a client and change", "≤ 0.3", "%.1f µs", each)
	medians(what+"bytes a client and change", "", "%.0f", sent)
	return nil
}

// follows lets the clients follow, and returns what that cost for each client and change.
func (b *bench) follows(p *place, parts bool) (cpu, sent float64, err error) {
	t, err := p.start(false, nil)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	f := &followers{url: "http://" + t.address + "/?txt", client: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: b.clients, DisableCompression: true, ReadBufferSize: 64 << 10}}}
	if parts {
		f.extra = "&part=1"
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	w := p.writer()
	if err := f.begin(ctx, b.clients); err != nil {
		return 0, 0, err
	}
	if _, err := w.AtRate(followRate, time.Second); err != nil { // a start, not counted
		return 0, 0, err
	}
	if err := errors.Join(f.caughtUp(), t.quiet()); err != nil {
		return 0, 0, err
	}
	before, err := t.counts()
	bytes, written := f.bytes.Load(), w.Written()
	if err == nil {
		_, err = w.AtRate(followRate, b.follow)
	}
	if err = errors.Join(err, f.caughtUp(), t.quiet()); err != nil {
		return 0, 0, fmt.Errorf("%s: %w\n%s", p.name, err, t.said())
	}
	after, err := t.counts()
	all := float64(b.clients * (w.Written() - written))
	note("%s: %d parts, %d whole listings", p.name, f.parts.Load(), f.whole.Load())
	return float64((after[1].CPU - before[1].CPU).Microseconds()) / all, float64(f.bytes.Load()-bytes) / all, err
}

// followers are clients that ask for what changed since what they know, and wait.
type followers struct {
	url, extra          string
	client              *http.Client
	bytes, parts, whole atomic.Int64

	mu     sync.Mutex
	stamps []string // what each has
	failed error
}

// begin starts n of them, from the present stamp.
func (f *followers) begin(ctx context.Context, n int) error {
	stamp, err := f.root()
	if err != nil {
		return err
	}
	f.stamps = make([]string, n)
	for i := range f.stamps {
		f.stamps[i] = stamp
		go func() {
			err := f.follow(ctx, i, stamp)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.failed = err
		}()
	}
	return nil
}

// root asks for the root's stamp.
func (f *followers) root() (string, error) {
	answer, err := f.client.Get(f.url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	stamp, _, _ := strings.Cut(string(text), " ")
	return stamp, err
}

// caughtUp waits until all have what the root has.
func (f *followers) caughtUp() error {
	return rig.Await(func() bool {
		stamp, same := f.agreed()
		if !same {
			return false
		}
		root, err := f.root()
		return err == nil && root == stamp
	}, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.failed
	})
}

// agreed returns the stamp that all have.
func (f *followers) agreed() (stamp string, same bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stamps[0], !slices.ContainsFunc(f.stamps, func(s string) bool { return s != f.stamps[0] })
}

// follow is one of them, until ctx ends.
func (f *followers) follow(ctx context.Context, i int, stamp string) (err error) {
	buffer := make([]byte, 64<<10)
	for ctx.Err() == nil && err == nil {
		if stamp, err = f.next(ctx, stamp, buffer); err == nil {
			f.mu.Lock()
			f.stamps[i] = stamp
			f.mu.Unlock()
		}
	}
	return err
}

// next waits for changes since a stamp, reads them all and returns the stamp to go on with.
func (f *followers) next(ctx context.Context, stamp string, buffer []byte) (next string, err error) {
	for after := ""; ; {
		end, err := f.ask(ctx, stamp+after, buffer)
		if err != nil {
			return "", err
		}
		fields := strings.Fields(end)
		if next == "" { // the first answer has the oldest
			next = fields[1]
		}
		if fields[0] == "#stamp" || len(fields) < 3 {
			return next, nil
		}
		after = "&after=" + fields[2]
	}
}

// ask makes one request and returns the last line of the answer.
func (f *followers) ask(ctx context.Context, since string, buffer []byte) (end string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+"&wait=45&since="+since+f.extra, nil)
	if err != nil {
		return "", err
	}
	answer, err := f.client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", request.URL, answer.Status)
	}
	var last []byte
	for {
		n, err := answer.Body.Read(buffer)
		f.bytes.Add(int64(n))
		last = append(last, buffer[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
		f.tell(&last)
	}
	f.tell(&last)
	if text := string(last); strings.HasPrefix(text, "#stamp ") || strings.HasPrefix(text, "#more ") {
		return strings.TrimSpace(text), nil
	}
	return "", fmt.Errorf("%s: an answer without end", request.URL)
}

// tell counts the listings whose lines are complete, and keeps the last line.
func (f *followers) tell(text *[]byte) {
	end := bytes.LastIndexByte(bytes.TrimSuffix(*text, []byte("\n")), '\n') + 1
	done := (*text)[:end]
	parts, all := bytes.Count(done, []byte("\tPart=")), bytes.Count(done, []byte(" ./"))
	f.parts.Add(int64(parts))
	f.whole.Add(int64(all - parts))
	*text = append((*text)[:0], (*text)[end:]...)
}
