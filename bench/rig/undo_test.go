package rig

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// asBenchmark has the test's own program do what a benchmark does, until a signal ends it.
const asBenchmark = "TIDEMARK_BENCH_TEST"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asBenchmark); dir != "" {
		if err := interrupted(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// interrupted makes a scratch directory, starts programs, one of which does not end by SIGTERM with all that it
// started, says so, and waits for good.
func interrupted(dir string) error {
	scratch, err := Scratch(dir)
	if err != nil {
		return err
	}
	p, err := Start(scratch, "sh", "-c", "sleep 1000 & echo started; wait")
	if err == nil {
		err = p.WaitFor("started")
	}
	if err != nil {
		return err
	}
	fmt.Println(p.PID())
	_, err = Command("sleep", "1000")
	return err
}

// A signal ends what a benchmark started, what that started, and the command that it waits for; and removes
// its directories.
func TestASignalLeavesNothingBehind(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		dir := t.TempDir()
		self, err := os.Executable()
		require.NoError(t, err)
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), asBenchmark+"="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		group, err := strconv.Atoi(strings.TrimSpace(line))
		require.NoError(t, err)
		var child int
		require.NoError(t, Await(func() bool { child = childNamed(cmd.Process.Pid, "sleep"); return child != 0 }))

		require.NoError(t, cmd.Process.Signal(signal))
		err = cmd.Wait()
		require.Equal(t, 130, cmd.ProcessState.ExitCode(), "%v", err)
		for _, pid := range []int{group, child} {
			require.NoError(t, Await(func() bool { return !anyOf(pid) }), "process group %d", pid)
		}
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, entries)
	}
}

// childNamed returns the child of a process that has this name, 0 if there is none.
func childNamed(parent int, name string) int {
	all, _ := os.ReadDir("/proc")
	for _, e := range all {
		pid, _ := strconv.Atoi(e.Name())
		stat, _ := os.ReadFile("/proc/" + e.Name() + "/stat")
		if pid > 0 && strings.Contains(string(stat), fmt.Sprintf("(%s) ", name)) && strings.Fields(string(stat))[3] == strconv.Itoa(parent) {
			return pid
		}
	}
	return 0
}

// anyOf reports whether a process of a group runs; what has ended and is not waited for by its new parent does not.
func anyOf(group int) bool {
	all, _ := os.ReadDir("/proc")
	for _, e := range all {
		stat, _ := os.ReadFile("/proc/" + e.Name() + "/stat")
		_, after, ok := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(after); ok && fields[2] == strconv.Itoa(group) && fields[0] != "Z" {
			return true
		}
	}
	return false
}

func TestAnEndedProgramIsNotWaitedFor(t *testing.T) {
	p, err := Start(t.TempDir(), "sh", "-c", "echo no; exit 1")
	require.NoError(t, err)
	defer p.Stop()
	require.ErrorContains(t, p.WaitFor("yes"), "ended:\nno")
}

func TestStopEndsAllThatAProgramStarted(t *testing.T) {
	p, err := Start(t.TempDir(), "sh", "-c", "sleep 1000 & echo started; wait")
	require.NoError(t, err)
	require.NoError(t, p.WaitFor("started"))
	p.Stop()
	require.NoError(t, Await(func() bool { return !anyOf(p.PID()) }))
}

func TestGroupCPUCountsChildren(t *testing.T) {
	p, err := Start(t.TempDir(), "sh", "-c", "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; echo done; sleep 1000")
	require.NoError(t, err)
	defer p.Stop()
	require.NoError(t, p.WaitFor("done"))
	own, err := p.Counts()
	require.NoError(t, err)
	require.Greater(t, p.GroupCPU(), own.CPU)
}
