package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"tidemark/internal/credentials"
	"tidemark/internal/logbook"
)

// Keep says what SIGHUP reads again.
func (e *Env) Keep(files credentials.Rereader) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.files = append(e.files, files)
}

// onRequests does at SIGUSR1 and, with hangup, at SIGHUP what people and systemctl reload ask for, until stop is
// called. Neither signal ends the program, not even after that, nor is it ignored by signal.Ignore, which the commands of
// --exec would inherit. Without hangup SIGHUP means that the terminal was closed, and ends it.
func onRequests(c *Command, env *Env, hangup bool) (stop func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGUSR1)
	if hangup {
		signal.Notify(signals, syscall.SIGHUP)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case s := <-signals:
				if s == syscall.SIGHUP {
					env.reload(c)
				} else {
					env.logStatus(c)
				}
			case <-quit:
				return
			}
		}
	}()
	return func() { // no signal.Stop: a signal that comes after that would end the program as a failure
		close(quit)
		select {
		case <-done:
		case <-time.After(noticeGrace): // a disk may not answer
		}
	}
}

// startOnly tells what SIGHUP does not do. Other globs change what is published and what is deleted from a copy:
// each of the three compares everything when it starts with others.
const startOnly = "options and filters are read at the start only: restart to change them"

// reload does what SIGHUP asks for, and tells in one line what that was.
func (e *Env) reload(c *Command) {
	e.tellReloading()
	var did, changed, same []string
	read := 0
	if c.Hangup != nil {
		did = append(did, c.Hangup())
	}
	e.mu.Lock()
	files := e.files
	e.mu.Unlock()
	for _, f := range files {
		for _, r := range f.Reread() {
			read++
			switch {
			case r.Err != nil:
				e.asked.Warn("SIGHUP: a file cannot be used now", "file", r.Files, "error", r.Err,
					"remedy", "put it right, then send SIGHUP again")
			case r.Changed:
				changed = append(changed, r.Files)
			default:
				same = append(same, r.Files)
			}
		}
	}
	attributes := []any{"read", strings.Join(changed, " "), "unchanged", strings.Join(same, " "), "remedy", startOnly}
	if read == 0 {
		attributes = attributes[4:]
		did = append(did, "no files to read again")
	} else {
		did = append(did, "read files again")
	}
	e.asked.Info("SIGHUP: "+strings.Join(did, "; "), attributes...)
	if e.ready.Load() {
		e.notices.tell(daemon.SdNotifyReady)
	}
}

// tellReloading reports to systemd that the program reads its files again, until it is READY again.
func (e *Env) tellReloading() {
	if !e.ready.Load() {
		return
	}
	if now := daemon.SdNotifyMonotonicUsec(); now != "" {
		e.notices.tell(daemon.SdNotifyReloading + "\n" + strings.TrimSpace(now))
	}
}

// logStatus writes how the program stands as one line of the log.
func (e *Env) logStatus(c *Command) {
	if c.Status == nil {
		e.asked.Info("SIGUSR1: there is no status to tell")
		return
	}
	var text bytes.Buffer
	err := c.Status(e, &text)
	var attributes []slog.Attr
	if err == nil {
		attributes, err = attributesOf(text.Bytes())
	}
	if err != nil {
		e.asked.Warn("SIGUSR1: the status cannot be read", "error", err, "remedy", "--status of the same program may tell more")
		return
	}
	values := []any{logbook.Listed()}
	for _, a := range attributes {
		values = append(values, a)
	}
	e.asked.Info("status", values...)
}

// longValue is the longest value of a status that is logged, in bytes: ten thousand deletions may be held.
const longValue = 1 << 10

// attributesOf returns the members of an object of JSON in their order.
func attributesOf(text []byte) (attributes []slog.Attr, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err = d.Token(); err != nil { // {
		return nil, err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err = d.Decode(&value); err != nil {
			return nil, err
		}
		a, err := attributeOf(fmt.Sprint(name), value)
		if err != nil {
			return nil, err
		}
		attributes = append(attributes, a)
	}
	_, err = d.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return attributes, err
}

// attributeOf returns a member: an object as a group, a list as its JSON.
func attributeOf(name string, value json.RawMessage) (slog.Attr, error) {
	switch value[0] {
	case '{':
		members, err := attributesOf(value)
		return slog.Attr{Key: name, Value: slog.GroupValue(members...)}, err
	case '"':
		var text string
		err := json.Unmarshal(value, &text)
		return slog.String(name, text), err
	}
	var line bytes.Buffer
	if err := json.Compact(&line, value); err != nil {
		return slog.Attr{}, err
	}
	if line.Len() > longValue { // guard: TestStatusInTheLog
		return slog.String(name, "too long for the log, see --status"), nil
	}
	return slog.Any(name, jsonValue(line.String())), nil
}

// jsonValue is a value of JSON: in a log of JSON it is that, in a text the same characters.
type jsonValue string

// MarshalJSON returns the value.
func (v jsonValue) MarshalJSON() ([]byte, error) { return []byte(v), nil }

// MarshalText returns the value.
func (v jsonValue) MarshalText() ([]byte, error) { return []byte(v), nil }
