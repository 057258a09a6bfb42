package main

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"tidemark/bench/peers"
	"tidemark/bench/report"
)

// machine describes where the run is made.
func machine(s *stage) report.Machine {
	trees := "one tmpfs for trees and copies"
	if s.isApart() {
		trees = "a tmpfs for trees, another for copies"
	}
	memory, _ := strconv.ParseInt(inFile("/proc/meminfo", `MemTotal:\s+(\d+)`), 10, 64)
	return report.Machine{
		Processor: inFile("/proc/cpuinfo", `model name\s*: (.*)`), Processors: runtime.NumCPU(), Memory: memory * 1024,
		Kernel: inFile("/proc/sys/kernel/osrelease", `(\S+)`), System: inFile("/etc/os-release", `PRETTY_NAME="(.*)"`), Trees: trees,
	}
}

// inFile returns the first group of a pattern in a file, "" if there is none.
func inFile(path, pattern string) string {
	text, _ := os.ReadFile(path)
	if m := regexp.MustCompile(pattern).FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return ""
}

// programs are those whose versions are told, with the arguments that print it.
var programs = []struct{ name, args string }{
	{"bin/mirror", "--version"}, {"rsync", "--version"}, {"lsyncd", "--version"}, {"syncthing", "--version"}, {"unison", "-version"},
	{"inotifywait", "--help"}, {"lftp", "--version"}, {"wget", "--version"}, {"rclone", "--version"}, {"nginx", "-v"}, {"tar", "--version"},
	{"cp", "--version"}, {"curl", "--version"}, {"wrk", "-v"}, {"find", "--version"}, {"go", "version"},
}

// versions returns the first line that each program prints of its version.
func versions(ctx context.Context) map[string]string {
	all := map[string]string{}
	for _, p := range programs {
		if peers.Missing(p.name) != "" {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		out, _ := exec.CommandContext(ctx, p.name, p.args).CombinedOutput() // some end with 1 after it
		cancel()
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		name, line := strings.Replace(p.name, "bin/mirror", report.Own, 1), strings.TrimPrefix(line, "tidemark-mirror ")
		all[name] = strings.Join(strings.Fields(line), " ")
	}
	return all
}

// missing names the peers that are not installed.
func missing() (all []string) {
	for _, p := range programs[1:] {
		if line := peers.Missing(p.name); line != "" {
			all = append(all, line)
		}
	}
	return all
}
