package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// crashEnv makes the test binary a program that Main runs. It panics, or reports
// that it runs and waits for a signal.
const crashEnv = "TIDEMARK_CLI_TEST"

func TestMain(m *testing.M) {
	switch how := os.Getenv(crashEnv); how {
	case "":
		os.Exit(m.Run())
	default:
		os.Args = os.Args[:1]
		Main(Command{Name: "probe", Flags: func(*pflag.FlagSet) {}, Run: func(ctx context.Context, _ *Env) error {
			if how == "panic" {
				panic("a defect")
			}
			fmt.Fprintln(os.Stdout, "running")
			<-ctx.Done()
			return nil
		}})
	}
}

// A panic, and a watchdog's SIGABRT, ended the programs with exit code 2, which
// the units take for wrong options: they stayed down.
func TestAPanicEndsBySignal(t *testing.T) {
	status := crash(t, "panic", nil)
	require.True(t, status.Signaled(), "exit code %d", status.ExitStatus())
	require.Equal(t, syscall.SIGABRT, status.Signal())
}

func TestTheWatchdogsSignalEndsBySignal(t *testing.T) {
	status := crash(t, "wait", func(p *os.Process) error { return p.Signal(syscall.SIGABRT) })
	require.True(t, status.Signaled(), "exit code %d", status.ExitStatus())
	require.Equal(t, syscall.SIGABRT, status.Signal())
}

// SIGHUP ended serve and mirror. People send it to make a service read its files
// again.
func TestHangupIsIgnored(t *testing.T) {
	status := crash(t, "wait", func(p *os.Process) error {
		return errors.Join(p.Signal(syscall.SIGHUP), p.Signal(syscall.SIGTERM))
	})
	require.True(t, status.Exited())
	require.Zero(t, status.ExitStatus())
}

// crash runs the program, calls then when it runs, and returns how it ended.
func crash(t *testing.T, how string, then func(*os.Process) error) syscall.WaitStatus {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+how)
	cmd.Dir = t.TempDir() // for a core
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, _ = bufio.NewReader(out).ReadString('\n') // it runs, or has ended
	if then != nil {
		require.NoError(t, then(cmd.Process))
	}
	_ = cmd.Wait()
	return cmd.ProcessState.Sys().(syscall.WaitStatus)
}
