package power

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
	"tidemark/internal/testtree"
)

// patience is how long a condition may take to come true. Nothing waits that long unless
// it is broken.
const patience = 60 * time.Second

func TestMain(m *testing.M) { os.Exit(proof.Main(m)) }

// chain is a source, its watch and serve, and a mirror elsewhere.
type chain struct {
	t          *testing.T
	source, to string // the tree and the copy
	logs       string // directory of the logs
	boot       string // file with the boot id that watch and serve see
	address    string

	watch, serve, mirror *proof.Process
}

// newChain makes a chain with nothing running. The copy is in memory.
func newChain(t *testing.T, source string) *chain {
	dir, err := os.MkdirTemp("/dev/shm", "tidemark-power-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &chain{t: t, source: source, to: filepath.Join(dir, "copy"), logs: dir, boot: filepath.Join(dir, "boot")}
	c.reboot()
	c.address = proof.FreeAddress(rand.IntN)
	t.Cleanup(func() { proof.LeaveAddress(c.address) })
	t.Cleanup(c.kill)
	return c
}

// reboot gives the machine of the source another boot id.
func (c *chain) reboot() {
	require.NoError(c.t, os.WriteFile(c.boot, fmt.Appendf(nil, "%d\n", time.Now().UnixNano()), 0o644))
}

// bootID is where the kernel tells its boot id.
const bootID = "/proc/sys/kernel/random/boot_id"

// otherBoot is a script for a mount namespace of its own. The program after the first two
// arguments sees the file of the first as the boot id. The images that other tests have
// mounted are let go of, since they would not be free for as long as the program runs.
const otherBoot = `mount --bind "$0" ` + bootID + ` && tree=$1 && shift &&
	while read -r device at rest; do
		case $device in /dev/loop*) ;; *) continue ;; esac
		case $tree/ in "$at"/*) ;; *) umount "$at" 2>/dev/null ;; esac
	done </proc/self/mounts
	exec "$@"`

// inBoot is a command that runs a program of this chain with its own boot id.
func (c *chain) inBoot(args ...string) []string {
	return append([]string{"unshare", "--mount", "--propagation", "slave", "sh", "-c", otherBoot, c.boot, c.source}, args...)
}

// launch starts a program and waits until it is ready.
func (c *chain) launch(name string, args ...string) *proof.Process {
	c.t.Helper()
	p, err := proof.Launch(proof.Command{Args: args, Dir: c.logs, Log: filepath.Join(c.logs, name+".log")})
	require.NoError(c.t, err)
	c.t.Cleanup(p.Kill)
	require.NoError(c.t, p.WaitReady(patience))
	return p
}

func (c *chain) startWatch(options ...string) {
	c.t.Helper()
	c.watch = c.launch("watch", c.inBoot(append(append([]string{"watch"}, options...), c.source)...)...)
}

func (c *chain) startServe() {
	c.t.Helper()
	c.serve = c.launch("serve", c.inBoot("serve", "--listen", c.address, c.source)...)
}

func (c *chain) startMirror(options ...string) {
	c.t.Helper()
	c.mirror = c.launch("mirror", append(append([]string{"mirror"}, options...), "http://"+c.address+"/", c.to)...)
}

// dark kills what runs on the machine of the source.
func (c *chain) dark() {
	for _, p := range []*proof.Process{c.watch, c.serve} {
		if p != nil {
			p.Kill()
		}
	}
	c.watch, c.serve = nil, nil
}

// kill kills all that runs.
func (c *chain) kill() {
	c.dark()
	if c.mirror != nil {
		c.mirror.Kill()
	}
	c.mirror = nil
}

// run runs a command that must succeed, and returns what it prints.
func (c *chain) run(args ...string) string {
	c.t.Helper()
	var out, err bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &err
	ended := make(chan error, 1)
	require.NoError(c.t, cmd.Start())
	go func() { ended <- cmd.Wait() }()
	select {
	case e := <-ended:
		require.NoError(c.t, e, "%q: %s%s\n%s", args, out.String(), err.String(), c.told())
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-ended
		require.Fail(c.t, "a command does not end", "%q: %s%s\n%s", args, out.String(), err.String(), c.told())
	}
	return strings.TrimSpace(out.String())
}

// told is the end of what the programs have logged.
func (c *chain) told() string {
	var all strings.Builder
	for _, name := range []string{"watch", "serve", "mirror"} {
		text, _ := os.ReadFile(filepath.Join(c.logs, name+".log"))
		fmt.Fprintf(&all, "--- %s\n%s", name, text[max(0, len(text)-6000):])
	}
	return all.String()
}

// settle waits until the copy has everything that was done at the source. Deletions that
// it holds, and says so, are released.
func (c *chain) settle() {
	c.t.Helper()
	stamp := c.run(c.inBoot("watch", "--sync", c.source)...)
	wait, err := proof.Launch(proof.Command{Args: []string{"mirror", "--wait-for", stamp, c.to}, Log: filepath.Join(c.logs, "wait.log")})
	require.NoError(c.t, err)
	defer wait.Kill()
	for end := time.Now().Add(patience); ; {
		select {
		case <-wait.Done:
			require.NoError(c.t, wait.Err, "%s\n%s", wait.Logged(), c.told())
			return
		case <-time.After(2 * time.Second):
			require.True(c.t, time.Now().Before(end), "the copy does not come to %s\n%s", stamp, c.told())
			if c.holds() {
				c.run("mirror", "--release", c.to)
			}
		}
	}
}

// equal requires that the copy has everything of the source and nothing else, once it
// says so itself.
func (c *chain) equal() {
	c.t.Helper()
	c.settle()
	differences, err := testtree.Differences(c.source, c.to)
	require.NoError(c.t, err)
	for end := time.Now().Add(patience / 2); len(differences) > 0 && time.Now().Before(end); <-time.After(50 * time.Millisecond) {
		differences, err = testtree.Differences(c.source, c.to)
		require.NoError(c.t, err)
	}
	require.Empty(c.t, differences, "source | copy: it differs and nobody says so\n%s\n%s", c.run("mirror", "--status", c.to), c.told())
}

// holds reports whether the copy says that deletions are held.
func (c *chain) holds() bool {
	return strings.Contains(c.run("mirror", "--status", c.to), "\nheld")
}
