package serve_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// past is a time that no test reaches: what carries it is settled.
var past = time.Date(2024, 2, 3, 4, 5, 6, 123456789, time.UTC)

// site is a tree on disk and a server that publishes it.
type site struct {
	*testing.T
	root string
	url  string
	h    *serve.Handler
	cfg  serve.Config
}

// publish makes the files (content by path; a name ending in "/" is a
// directory, content "-> x" a symlink) and serves them.
func publish(t *testing.T, cfg serve.Config, files map[string]string) *site {
	t.Helper()
	if cfg.Root == "" {
		cfg.Root = t.TempDir()
	}
	s := &site{T: t, root: cfg.Root, cfg: cfg}
	for name, content := range files {
		s.write(name, content)
	}
	s.settle()
	s.start()
	return s
}

// inMemory is a directory where many files are made quickly.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "serve-test-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (s *site) start() {
	s.Helper()
	h, err := serve.New(s.cfg)
	require.NoError(s, err)
	s.Cleanup(func() { _ = h.Close() })
	s.h = h
	s.listen(h)
}

// listen serves h, which is s.h or around it, by Server, as cmd/serve does.
func (s *site) listen(h http.Handler) {
	s.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s, err)
	way := serve.Fast
	if os.Getenv("TIDEMARK_TEST_HTTP") == "std" {
		way = serve.Std
	}
	server := serve.Server(h, way)
	go func() { _ = server.Serve(l) }()
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, ours := h.(*serve.Handler); !ours {
			s.h.Release()
		}
		require.NoError(s, server.Shutdown(ctx), "answers who waits, lets the others finish")
	})
	s.url = "http://" + l.Addr().String()
}

func (s *site) path(name string) string { return filepath.Join(s.root, name) }

func (s *site) write(name, content string) {
	s.Helper()
	path := s.root + "/" + name
	require.NoError(s, os.MkdirAll(filepath.Dir(path), 0o755))
	switch {
	case name[len(name)-1] == '/':
		require.NoError(s, os.MkdirAll(path, 0o755))
	case len(content) > 3 && content[:3] == "-> ":
		require.NoError(s, os.Symlink(content[3:], path))
	default:
		require.NoError(s, os.WriteFile(path, []byte(content), 0o644))
	}
}

// settle gives everything in the tree the time past.
func (s *site) settle() {
	s.Helper()
	var paths []string
	require.NoError(s, filepath.Walk(s.root, func(path string, _ os.FileInfo, err error) error {
		paths = append(paths, path)
		return err
	}))
	for i := len(paths) - 1; i >= 0; i-- {
		if info, err := os.Lstat(paths[i]); err == nil && info.Mode()&os.ModeSymlink == 0 {
			require.NoError(s, os.Chtimes(paths[i], past, past))
		}
	}
}

// alterTree changes what the tree file says, as a watcher or a mirror would.
func (s *site) alterTree(change func(*state.Tree)) {
	s.Helper()
	root, err := disk.OpenRoot(s.root)
	require.NoError(s, err)
	defer root.Close()
	m, err := state.OpenMarker(root, "")
	require.NoError(s, err)
	defer m.Close()
	tree, err := m.ReadTree()
	require.NoError(s, err)
	change(&tree)
	require.NoError(s, m.WriteTree(tree))
}

// alterStatus changes what status.json says, as a watcher or a mirror would.
func (s *site) alterStatus(change func(*state.Status)) {
	s.Helper()
	root, err := disk.OpenRoot(s.root)
	require.NoError(s, err)
	defer root.Close()
	m, err := state.OpenMarker(root, "")
	require.NoError(s, err)
	defer m.Close()
	status, err := m.ReadStatus()
	require.NoError(s, err)
	change(&status)
	file, err := m.CreateStatus()
	require.NoError(s, err)
	defer file.Close()
	require.NoError(s, file.Write(status))
}

// watched makes the tree one with a live watcher: what watch writes, without
// watch. The lock is held until release.
func watched(t testing.TB, root string, st wire.State) (release func()) {
	t.Helper()
	dir, err := disk.OpenRoot(root)
	require.NoError(t, err)
	info, err := state.RootOf(dir)
	require.NoError(t, err)
	m, err := state.CreateMarker(dir, "")
	require.NoError(t, err)
	tree := state.Tree{ID: treeID, Epoch: 7, Role: state.Source}
	if st == wire.Mirrored || st == wire.Filling {
		tree.Role = state.Copy
	}
	tree.Bind(info)
	require.NoError(t, m.WriteTree(tree))
	status, err := m.CreateStatus()
	require.NoError(t, err)
	now := machine.Now()
	require.NoError(t, status.Write(state.Status{State: st, Checkpoint: &now, Boot: machine.BootID()}))
	lock, err := m.Lock()
	require.NoError(t, err)
	require.NoError(t, dir.SetTime(info.MTime))
	held := true
	release = func() {
		if held {
			held = false
			_ = lock.Unlock()
		}
	}
	t.Cleanup(func() {
		release()
		_ = status.Close()
		_ = m.Close()
		_ = dir.Close()
	})
	return release
}

const treeID = "0123456789abcdef0123456789abcdef"

// publishWatched is publish of a tree with a live watcher.
func publishWatched(t *testing.T, cfg serve.Config, files map[string]string) *site {
	t.Helper()
	if cfg.Root == "" {
		cfg.Root = t.TempDir()
	}
	s := &site{T: t, root: cfg.Root, cfg: cfg}
	for name, content := range files {
		s.write(name, content)
	}
	s.settle()
	watched(t, s.root, wire.Watched)
	s.start()
	return s
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

// get sends a request; headers are pairs.
func (s *site) get(target string, headers ...string) answer {
	s.Helper()
	return s.do(http.MethodGet, target, nil, headers...)
}

func (s *site) do(method, target string, body io.Reader, headers ...string) answer {
	s.Helper()
	r, err := http.NewRequest(method, s.url+target, body)
	require.NoError(s, err)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(r)
	require.NoError(s, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(s, err)
	return answer{response, string(text)}
}

// list gets and parses a text listing.
func (s *site) list(target string) mtree.Listing {
	s.Helper()
	a := s.get(target + "?txt")
	require.Equal(s, 200, a.StatusCode, a.body)
	l, err := mtree.ParseListing([]byte(a.body))
	require.NoError(s, err, a.body)
	return l
}

func names(l mtree.Listing) []string {
	var names []string
	for _, e := range l.Entries {
		names = append(names, e.Name)
	}
	return names
}
