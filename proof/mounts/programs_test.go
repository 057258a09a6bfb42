package mounts

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
	"tidemark/internal/testtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// patience is how long a program may take to be ready, and to publish what was done.
const patience = time.Minute

// begin starts watch, as a process: in this one it would take our changes for its own. And serve.
func (w *world) begin(backend string) {
	w.args = []string{"watch", "--cross-mounts", "--backend", backend, w.root}
	w.startWatch()
	w.t.Cleanup(func() { w.watch.Kill() })
	h, err := serve.New(serve.Config{Root: w.root, CrossMounts: true, Log: slog.New(slog.NewTextHandler(&w.log, nil)).With("of", "serve")})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, h.Close()) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	server := serve.Server(h, serve.Fast)
	go func() { _ = server.Serve(l) }()
	w.t.Cleanup(func() { _ = server.Close() })
	w.url = "http://" + l.Addr().String() + "/"
}

// startWatch starts watch.
func (w *world) startWatch() {
	p, err := proof.Launch(proof.Command{Args: w.args, Log: filepath.Join(filepath.Dir(w.root), "watch.log")})
	require.NoError(w.t, err)
	w.watch = p
	require.NoError(w.t, p.WaitReady(patience), "%s", p.Logged())
}

// restartWatch kills watch and starts it again.
func (w *world) restartWatch() {
	w.watch.Kill()
	w.startWatch()
}

// rest waits until everything is published, brings the copy to that, and compares. Where watch does not say
// that it hears everything, or mirror that it is done, they may try again.
func (w *world) rest() {
	w.unmountRemoved()
	var wrong []string
	for range 4 {
		state, err := w.copyAll()
		wrong = w.differences()
		if w.say("rest:", state, err, wrong); len(wrong) == 0 || state == wire.Watched && err == nil {
			break
		}
		<-time.After(300 * time.Millisecond)
	}
	require.Empty(w.t, wrong, "%v", w.mounts())
}

// copyAll makes the copy equal, and returns what serve said about watch before.
func (w *world) copyAll() (wire.State, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := watch.Sync(ctx, w.root, "")
	require.NoError(w.t, err)
	answer, err := http.Head(w.url)
	require.NoError(w.t, err)
	require.NoError(w.t, answer.Body.Close())
	c := mirror.Config{Source: w.url, Dest: w.copy, MaxDelete: "100%", Durability: "none", Log: slog.New(slog.NewTextHandler(&w.log, nil)).With("of", "mirror")}
	err = mirror.Once(ctx, c)
	if exit.Of(err) == exit.Held { // an empty file system came
		err = errors.Join(mirror.Release(ctx, c), mirror.Once(ctx, c))
	}
	return wire.State(answer.Header.Get("Tidemark-State")), err
}

// ofADirectory is a difference between the times of two directories.
var ofADirectory = regexp.MustCompile(`^\S+: (d[rwx-]{9}) \d+\.\d+ \| (d[rwx-]{9}) \d+\.\d+$`)

// differences returns how tree and copy differ, but for the times of directories: they are stamped once more
// when what was stamped at one place is heard at another.
func (w *world) differences() (wrong []string) {
	all, err := testtree.Differences(w.root, w.copy)
	require.NoError(w.t, err)
	for _, d := range all {
		if modes := ofADirectory.FindStringSubmatch(d); modes == nil || modes[1] != modes[2] {
			wrong = append(wrong, d)
		}
	}
	return wrong
}
