package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tidemark/internal/proof"
)

// program is one of the programs of a world, which is started again and again.
type program struct {
	name    string
	log     string
	process *proof.Process
	options []string // beside those that it always has
	user    int
	limit   int  // of inotify watches, in a user namespace; 0: none
	queue   int  // of inotify events, likewise
	down    bool // it was ended on purpose
	frozen  bool
	retry   time.Time // when it may be started again after it ended by itself
}

// The programs. Mirror copies the source from serve, or from other or the directory itself;
// mirror2 copies that copy from serve2.
var names = []string{"watch", "serve", "mirror", "serve2", "mirror2"}

// limited reports whether it is in a user namespace.
func (p *program) limited() bool { return p.limit != 0 || p.queue != 0 }

// runsAs is its user outside of its namespace. In one it is root, and that of nobody else's
// files: what it writes to must belong to root.
func (p *program) runsAs() int {
	if p.limited() {
		return 0
	}
	return p.user
}

// launch starts the program with its arguments.
func (p *program) launch(args []string) error {
	if p.limited() {
		script := ""
		if p.limit != 0 {
			script += fmt.Sprintf("echo %d >/proc/sys/user/max_inotify_watches; ", p.limit)
		}
		args = append([]string{"unshare", "-U", "-r", "sh", "-c", script + `exec "$@"`, "sh"}, args...)
	}
	process, err := proof.Launch(proof.Command{Args: args, Log: p.log, User: p.runsAs(), Dir: "/"})
	p.process, p.down, p.frozen = process, false, false
	return err
}

// entered waits until the program runs in its namespace: unshare and a shell make that before.
// It reports false if it ends before.
func (p *program) entered() bool {
	for p.alive() {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.process.Cmd.Process.Pid))
		if err == nil && filepath.Base(exe) == p.name {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// alive reports whether it runs; also if it is frozen.
func (p *program) alive() bool { return p.process != nil && p.process.Alive() }

// ends reports whether it has ended by then.
func (p *program) ends(within time.Duration) bool {
	for end := time.Now().Add(within); p.alive(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// signal sends a signal if it runs.
func (p *program) signal(s syscall.Signal) {
	if p.alive() {
		_ = p.process.Cmd.Process.Signal(s)
	}
}

// kill ends it by SIGKILL.
func (p *program) kill() {
	if p.process != nil {
		p.process.Kill()
	}
	p.down, p.frozen = true, false
}

// terminate ends it by SIGTERM. It is an error if it does not end in an orderly way.
func (p *program) terminate() error {
	p.down = true
	if !p.alive() {
		return nil
	}
	p.frozen = false
	err := p.process.Terminate(patience)
	if err != nil {
		p.kill()
	}
	return err
}

// patience is how long anything may take that takes a moment.
const patience = 30 * time.Second

// code is the exit code of a program that has ended, -1 if by a signal.
func (p *program) code() int {
	var e *exec.ExitError
	if errors.As(p.process.Err, &e) {
		return e.ExitCode()
	}
	return 0
}

// said is the end of its log.
func (p *program) said() string { return tail(p.process.Logged(), 1200) }

func tail(text string, n int) string {
	if len(text) > n {
		return "..." + text[len(text)-n:]
	}
	return text
}

// ask runs a program that ends by itself, within some time.
func ask(limit time.Duration, args ...string) (out string, code int) { return askAs(0, limit, args...) }

// askAs is ask as another user.
func askAs(user int, limit time.Duration, args ...string) (out string, code int) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = "/"
	if user != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}
	}
	text, err := cmd.CombinedOutput()
	var e *exec.ExitError
	switch {
	case errors.As(err, &e):
		return string(text), e.ExitCode()
	case err != nil:
		return string(text) + err.Error(), -2
	}
	return string(text), 0
}

// status is what --status says, by name.
type status map[string]string

func statusOf(program, at string) status {
	out, _ := ask(patience, program, "--status", at)
	s := status{"": out}
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z_ ]*): *(.*)$`).FindAllStringSubmatch(out, -1) {
		s[m[1]] = m[2]
	}
	return s
}

// number is a counter of the status.
func (s status) number(name string) int { n, _ := strconv.Atoi(s[name]); return n }

// brief is the status in one line.
func (s status) brief() string {
	return strings.Join(strings.Fields(strings.ReplaceAll(s[""], "\n", ", ")), " ")
}

// exists reports whether there is such a path.
func exists(name string) bool { _, err := os.Lstat(name); return err == nil }
