package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// part is one test, which goes on for as long as PROOF_FOR says.
type part struct {
	name  string
	share int      // of the time
	args  []string // the command
}

// parts alternate between those that compute and those that wait most of the time, so
// that two of them do not hinder each other much.
var parts = []part{
	{"world", 14, test("./proof/world", "-run", "^TestWorld$")},
	{"watch-simulation", 4, test("./pkg/mtree/watch", "-run", "^TestSimulation$")},
	{"watch-clock", 1, test("./pkg/mtree/watch", "-run", "^TestSimulatedClock$")},
	{"watch-parts", 3, test("./pkg/mtree/watch", "-run", "^TestSimulatedParts$")},
	{"mirror-simulation", 4, test("./pkg/mtree/mirror", "-run", "^TestSimulatedHistories$")},
	{"small-sequences", 2, test("./pkg/mtree/mirror", "-run", "^TestSimulatedSmallSequences$")},
	{"wire", 7, test("./proof/wire", "-run", "^TestWire$")},
	{"calls-mirror", 4, test("./proof/calls", "-run", "^TestMirror$")},
	{"calls-watch", 3, test("./proof/calls", "-run", "^TestWatch$")},
	{"calls-serve", 1, test("./proof/calls", "-run", "^TestServe$")},
	{"power-copy", 4, test("./pkg/mtree/mirror", "-tags", "filesystems", "-run", "^TestPowerCut$")},
	{"power-btrfs", 2, test("./pkg/mtree/mirror", "-tags", "filesystems", "-run", "^TestPowerCutBtrfs$")},
	{"power-source", 4, test("./proof/power", "-run", "^TestCutsAtTheSource$")},
	{"damage", 1, test("./proof/power", "-run", "^TestDamagedState$")},
	{"kills", 2, test("./proof/power", "-run", "^TestKills$")},
	{"mounts", 1, test("./proof/mounts", "-run", "^TestMountsAtRandom$")},
	{"sources", 1, test("./proof/sources", "-run", "^TestSourcesThatDie$")},
	{"churn", 4, test("./pkg/mtree/watch", "-tags", "filesystems,soak", "-run", "^TestSoak$")},
	{"hostile-servers", 2, test("./proof/hostile", "-run", "^TestServersAtRandom$")},
	{"hostile-clients", 2, test("./proof/hostile", "-run", "^TestClientsAtRandom$")},
	{"hostile-tables", 1, test("./proof/hostile", "-run", "^TestServers$|^TestClients$|^TestEndlessTree$")},
	{"fuzz", 4, []string{"sh", "tools/fuzz"}},
	{"marks", 3, []string{"make", "mutants", "ONLY="}}, // or it would be that of make soak ONLY=
	{"mutants", 4, []string{"make", "mutants", "HEART=1", "ONLY="}},
}

// test is the command that runs a package's tests.
func test(pkg string, flags ...string) []string {
	return append(append([]string{"go", "test", "-count=1", "-v", "-timeout=0"}, flags...), pkg)
}

// grace is how long a part may go on after its time: to compile, to end its last round.
const grace = 10 * time.Minute

// result is how a part ended.
type result struct {
	part   part
	took   time.Duration
	counts map[string]int
	err    error
	log    string
}

// run runs the part for its time. Its output and its counts go to files in dir.
func (p part) run(dir string, budget time.Duration) result {
	budget = max(budget.Round(time.Second), time.Second)
	r := result{part: p, log: filepath.Join(dir, p.name+".log")}
	counts := filepath.Join(dir, p.name+".counts")
	begun := time.Now()
	fmt.Printf("%s  %s begins, for %v: %s\n", begun.Format(time.TimeOnly), p.name, budget, strings.Join(p.args, " "))
	r.err = p.execute(r.log, budget, "PROOF_FOR="+budget.String(), "PROOF_COUNTS="+counts)
	r.took = time.Since(begun)
	var err error
	if r.counts, err = readCounts(counts); err != nil && r.err == nil {
		r.err = err
	}
	if r.err != nil {
		fmt.Printf("%s  %s FAILED: %v\n%s\n", time.Now().Format(time.TimeOnly), p.name, r.err, telling(r.log))
	}
	return r
}

// execute runs the command in a process group of its own, which is ended when it is far
// over its time.
func (p part) execute(name string, budget time.Duration, env ...string) error {
	log, err := os.Create(name)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	hung := time.AfterFunc(budget+grace, func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT) // Go programs tell where they hang
		time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	})
	err = cmd.Wait()
	if !hung.Stop() {
		err = fmt.Errorf("it hung: ended %v after its time", grace)
	}
	return err
}

// interesting is a line that says what failed and how to replay it.
var interesting = regexp.MustCompile(`(?i)--- FAIL|replay|finding|panic:|survive`)

// telling returns the lines of a log that say what failed, and its end.
func telling(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var told []string
	for _, line := range lines[:max(0, len(lines)-20)] {
		if interesting.MatchString(line) && len(told) < 30 {
			told = append(told, line)
		}
	}
	return strings.Join(append(told, lines[max(0, len(lines)-20):]...), "\n")
}
