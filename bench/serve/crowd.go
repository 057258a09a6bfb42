package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"tidemark/bench/rig"
)

// number returns the first number that pattern finds, times 1024 for each step of its
// unit in units.
func number(text, pattern, units string) float64 {
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	value, _ := strconv.ParseFloat(m[1], 64)
	if units != "" && m[2] != "" {
		for range strings.Index(units, m[2]) + 1 {
			value *= 1024
		}
	}
	return value
}

// serveBare answers every request with 2 KiB from memory and the headers of a file: that
// is what net/http itself can do.
func serveBare() error {
	body := bytes.Repeat([]byte("x"), 2048)
	return http.ListenAndServe(host(bare), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		header := w.Header()
		header["Content-Type"] = []string{"text/plain; charset=utf-8"}
		header["Content-Length"] = []string{"2048"}
		header["Etag"] = []string{`"1707019506.123456789-2048-1707019506.123456789"`}
		header["Last-Modified"] = []string{"Sat, 03 Feb 2024 04:05:06 GMT"}
		_, _ = w.Write(body)
	}))
}

// crowdSize is how many clients wait at once.
const crowdSize = 10_000

// waiters measures what crowdSize long polls cost serve, and how long it takes until all
// are answered after a change.
func (b *bench) waiters(string) error {
	if !strings.Contains("10,000 waiters", b.only) {
		return nil
	}
	tag, err := tagOf(served + "/d100/?txt")
	if err != nil {
		return err
	}
	before, err := b.serve.Counts()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	clients := exec.Command(self, "crowd", tag, b.tree)
	in, err := clients.StdinPipe()
	if err != nil {
		return err
	}
	out, err := clients.StdoutPipe()
	if err != nil {
		return err
	}
	clients.Stderr = os.Stderr
	if err := clients.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() { // all clients have asked
		return clients.Wait()
	}
	for waiting := 0.0; waiting < crowdSize; waiting = metric("waiting") {
		<-time.After(20 * time.Millisecond)
	}
	during, err := b.serve.Counts()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(in, "go"); err != nil {
		return err
	}
	lines.Scan()
	fmt.Printf("10,000 waiters: memory each, server only | %.1f KiB | | | <= 20\n", float64(during.Now-before.Now)/crowdSize/1024)
	fmt.Printf("10,000 waiters: all answered after a change | %s | | | < 1 s\n", lines.Text())
	return clients.Wait()
}

func metric(name string) float64 {
	response, err := http.Get(metrics)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return float64(rig.Number(string(text), `(?m)^\w*`+name+` (\S+)`))
}

// crowd is the other process. It asks and reports that; at a line of input it changes
// the directory and waits until all are answered.
func crowd(args []string) error {
	request := "GET /d100/?txt&wait=45 HTTP/1.1\r\nHost: x\r\nIf-None-Match: " + args[0] + "\r\n\r\n"
	conns := make([]net.Conn, crowdSize)
	for i := range conns {
		var err error
		// One address has not many more ports.
		if conns[i], err = net.Dial("tcp", host(served)); err != nil {
			return err
		}
		if _, err = io.WriteString(conns[i], request); err != nil {
			return err
		}
	}
	fmt.Println("asked")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	begun := time.Now()
	if err := os.WriteFile(args[1]+"/d100/file-00001.txt", []byte("changed"), 0o644); err != nil {
		return err
	}
	var all sync.WaitGroup
	for _, conn := range conns {
		all.Go(func() {
			if n, _ := conn.Read(make([]byte, 12)); n == 0 {
				fmt.Fprintln(os.Stderr, "serve: a waiter was cut off")
			}
		})
	}
	all.Wait()
	fmt.Println(time.Since(begun).Round(time.Millisecond))
	return nil
}
