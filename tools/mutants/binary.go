package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// binary is the compiled tests of one package, with all mutants in them.
type binary struct {
	dir  string // the package, relative to the root
	tags string
	path string
	over *overlay
	root string
}

// compile compiles the tests of a package.
func compile(root string, o *overlay, dir, tags string) (*binary, error) {
	b := &binary{dir: dir, tags: tags, over: o, root: root, path: filepath.Join(o.dir, strings.ReplaceAll(dir, "/", "-")+"-"+tags+".test")}
	args := []string{"test", "-c", "-trimpath", "-vet=off", "-ldflags=-s -w", "-overlay", o.file, "-o", b.path, "-tags", tags, "./" + dir}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compiling the tests of %s: %w\n%s", dir, err, out)
	}
	if _, err := os.Stat(b.path); err != nil {
		return nil, fmt.Errorf("the tests of %s: %w", dir, err)
	}
	return b, nil
}

// outcome is how a run of tests ended.
type outcome struct {
	failed  bool
	killer  string // the test that failed
	killers string // all tests that failed
	took    time.Duration
	hits    map[int]bool
	message string // the end of what it printed
}

// run runs tests with one mutant on; 0: with none. Without names it runs all tests, also after
// one has failed. It ends everything that they started.
func (b *binary) run(ctx context.Context, tests []string, mutant int, patience time.Duration, hits bool) (outcome, error) {
	tmp, err := os.MkdirTemp("", "mutants-run-")
	if err != nil {
		return outcome{}, err
	}
	defer removeTree(tmp)
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil { // tests work as other users, too
		return outcome{}, err
	}
	args := []string{"-test.run", pattern(tests), "-test.timeout", patience.String()}
	if len(tests) > 0 {
		args = append(args, "-test.failfast")
	}
	cmd := exec.Command(b.path, args...)
	cmd.Dir = filepath.Join(b.root, b.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(environment(), "TMPDIR="+tmp, envMutant+"="+strconv.Itoa(mutant), "GOFLAGS=-trimpath -buildvcs=false -overlay="+b.over.file)
	hitsFile := filepath.Join(b.over.dir, filepath.Base(tmp)+".hits")
	if hits {
		cmd.Env = append(cmd.Env, envHits+"="+hitsFile)
		if err := errors.Join(os.WriteFile(hitsFile, nil, 0o666), os.Chmod(hitsFile, 0o666)); err != nil {
			return outcome{}, err
		}
		defer os.Remove(hitsFile)
	}
	out, err := os.Create(filepath.Join(b.over.dir, filepath.Base(tmp)+".out"))
	if err != nil {
		return outcome{}, err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return outcome{}, err
	}
	group := -cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-time.After(patience + 10*time.Second):
		_ = syscall.Kill(group, syscall.SIGKILL)
		err = <-ended
	case <-ctx.Done():
		_ = syscall.Kill(group, syscall.SIGKILL)
		<-ended
		return outcome{}, ctx.Err()
	}
	_ = syscall.Kill(group, syscall.SIGKILL) // what the tests left behind
	o := outcome{took: time.Since(begun)}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return o, err
	}
	text, _ := os.ReadFile(out.Name())
	if o.failed = err != nil; o.failed {
		o.killers = strings.Join(failedTests(string(text)), ", ")
		o.killer, o.message = failedTest(string(text)), lastPart(string(text))
	} else if strings.Contains(string(text), "no tests to run") {
		return o, fmt.Errorf("%s: no test %s", b.dir, strings.Join(tests, ", "))
	}
	if hits {
		o.hits = readHits(hitsFile)
	}
	return o, nil
}

// environment is ours without what says how long tests of package proof go on: each test
// makes the same rounds, whether a soak runs or not.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PROOF_") })
}

// pattern makes the argument of -test.run: parts of tests only if there is one test.
func pattern(tests []string) string {
	switch len(tests) {
	case 0:
		return "."
	case 1:
		return "^" + strings.ReplaceAll(tests[0], "/", "$/^") + "$"
	}
	return "^(" + strings.Join(tests, "|") + ")$"
}

var failLine = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
var runLine = regexp.MustCompile(`(?m)^\s+(Test\S+) \(\d`)

// failedTest returns the name of the test that failed.
func failedTest(text string) string {
	if found := failLine.FindStringSubmatch(text); found != nil {
		return found[1]
	}
	if found := runLine.FindStringSubmatch(text); found != nil && strings.Contains(text, "test timed out") {
		return found[1] + " (time out)"
	}
	if strings.Contains(text, "panic:") || strings.Contains(text, "fatal error:") {
		return "(panic)"
	}
	return "(it ended)"
}

// failedTests returns the names of all tests that failed.
func failedTests(text string) (names []string) {
	for _, found := range failLine.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(found[1], "/") {
			names = append(names, found[1])
		}
	}
	return names
}

func lastPart(text string) string {
	const most = 3000
	return text[max(0, len(text)-most):]
}

func readHits(name string) map[int]bool {
	hits := map[int]bool{}
	file, err := os.Open(name)
	if err != nil {
		return hits
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if id, err := strconv.Atoi(lines.Text()); err == nil {
			hits[id] = true
		}
	}
	return hits
}

// list returns the names of the tests in it.
func (b *binary) list() ([]string, error) {
	cmd := exec.Command(b.path, "-test.list", "^(Test|Fuzz)")
	cmd.Dir = filepath.Join(b.root, b.dir)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the tests of %s: %w", b.dir, err)
	}
	var tests []string
	for _, name := range strings.Fields(string(out)) {
		if testName.MatchString(name) {
			tests = append(tests, name)
		}
	}
	return tests, nil
}

// removeTree removes what a killed test may have left, mounts first.
func removeTree(dir string) {
	for range 8 {
		text, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			return
		}
		left := false
		for _, line := range strings.Split(string(text), "\n") {
			fields := strings.Fields(line)
			if len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
				left = true
				_ = syscall.Unmount(fields[4], syscall.MNT_DETACH)
			}
		}
		if !left {
			_ = os.RemoveAll(dir)
			return
		}
	}
}
