package hostile

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// play is what an attack changes of the answers of an honest server. Each may be nil.
type play struct {
	tree    func(t tree)                                               // alters the tree
	answer  func(p *peer, w http.ResponseWriter, r *http.Request) bool // answers in its place; false: it does not
	listing func(p *peer, dir, text string) string                     // alters the listing of dir
	header  func(p *peer, h http.Header, r *http.Request)              // alters the header of a listing
	file    func(p *peer, path string, f *entry)                       // alters a file before it is sent
	tar     func(p *peer, stream []byte) []byte                        // alters the answer to POST ?tar
	sums    func(p *peer, text string) string                          // alters the answer to POST ?sums
}

// peer is a server that plays serve with a tree in memory.
type peer struct {
	*httptest.Server
	mu    sync.Mutex
	tree  tree
	plays []play
	asked []string

	epoch    string
	requests atomic.Int64 // since the plays began
	done     chan struct{}
}

// newPeer listens at once.
func newPeer(t testing.TB, version int) *peer {
	p := &peer{tree: honest(version), epoch: "1", done: make(chan struct{})}
	p.Server = httptest.NewUnstartedServer(p)
	p.Config.ErrorLog = discard
	p.Start()
	t.Cleanup(p.end)
	return p
}

// end ends what still runs and closes the server.
func (p *peer) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
	default:
		close(p.done)
		p.CloseClientConnections()
		_ = p.Listener.Close()
	}
}

// becomes makes the peer another version, with these plays.
func (p *peer) becomes(version int, plays ...play) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tree, p.plays = honest(version), plays
	for _, play := range plays {
		if play.tree != nil {
			play.tree(p.tree)
		}
	}
	p.requests.Store(0)
	p.asked = nil
}

// log is what was asked since the plays began.
func (p *peer) log() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.asked...)
}

func (p *peer) present() (tree, []play) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tree, p.plays
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.requests.Add(1)
	p.mu.Lock()
	if len(p.asked) < 1000 {
		p.asked = append(p.asked, r.Method+" "+r.URL.RequestURI())
	}
	p.mu.Unlock()
	_, plays := p.present()
	w.Header().Set(wire.HeaderVersion, wire.Version)
	for _, play := range plays {
		if play.answer != nil && play.answer(p, w, r) {
			return
		}
	}
	tree, _ := p.present()
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/")
	e := tree[path]
	switch {
	case r.Method == http.MethodPost && r.URL.RawQuery == wire.TarQuery:
		p.sendTar(w, r, tree, plays)
	case r.Method == http.MethodPost:
		p.sendSums(w, r, tree, plays)
	case e == nil, e.Kind == mtree.Symlink, e.Kind == mtree.File && strings.HasSuffix(r.URL.Path, "/"):
		http.Error(w, "404 not found", http.StatusNotFound)
	case e.Kind == mtree.File:
		p.sendFile(w, r, path, *e, plays)
	case strings.Contains(r.URL.RawQuery, "since="):
		http.Error(w, "410 gone", http.StatusGone)
	default:
		p.sendListing(w, r, path, tree, plays)
	}
}

// sendListing answers with a listing, or with 304 if the caller has it.
func (p *peer) sendListing(w http.ResponseWriter, r *http.Request, dir string, tree tree, plays []play) {
	l := tree.listing(dir)
	h := w.Header()
	h.Set("Content-Type", mtree.ListingType)
	h.Set(wire.HeaderStamp, l.Stamp.String())
	h.Set(wire.HeaderTree, treeID)
	h.Set(wire.HeaderEpoch, p.epoch)
	h.Set(wire.HeaderState, string(wire.Watched))
	h.Set(wire.HeaderNow, l.Now.String())
	h.Set("ETag", fmt.Sprintf(`W/"%s-txt-abcdef"`, l.Stamp))
	for _, play := range plays {
		if play.header != nil {
			play.header(p, h, r)
		}
	}
	text := string(mtree.FormatListing(l))
	altered := false
	for _, play := range plays {
		if play.listing != nil {
			was := text
			text = play.listing(p, dir, text)
			altered = altered || text != was
		}
	}
	if tag := r.Header.Get("If-None-Match"); tag != "" && tag == h.Get("ETag") && !altered {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = io.WriteString(w, text)
}

// sendFile answers with a file.
func (p *peer) sendFile(w http.ResponseWriter, r *http.Request, path string, e entry, plays []play) {
	for _, play := range plays {
		if play.file != nil {
			play.file(p, path, &e)
		}
	}
	tag := wire.FileTagOf(&e.Entry).String()
	if want := r.Header.Get("If-Match"); want != "" && want != tag {
		http.Error(w, "412", http.StatusPreconditionFailed)
		return
	}
	w.Header().Set("ETag", tag)
	w.Header().Set("Content-Length", strconv.Itoa(len(e.data)))
	_, _ = io.WriteString(w, e.data)
}

// wanted are the paths in the body of a POST.
func wanted(r *http.Request) []string {
	paths, _ := wire.ReadPaths(r.Body, func(string) error { return nil })
	return paths
}

// sendTar answers POST ?tar.
func (p *peer) sendTar(w http.ResponseWriter, r *http.Request, tree tree, plays []play) {
	var stream []byte
	for _, path := range wanted(r) {
		if e := tree[path]; e != nil && e.Kind == mtree.File && e.Size <= wire.MaxBulkFile {
			f := *e
			for _, play := range plays {
				if play.file != nil {
					play.file(p, path, &f)
				}
			}
			stream = appendMember(stream, path, &f)
		}
	}
	stream = wire.AppendTarEnd(stream)
	for _, play := range plays {
		if play.tar != nil {
			stream = play.tar(p, stream)
		}
	}
	_, _ = w.Write(stream)
}

// appendMember appends a file to a tar stream.
func appendMember(stream []byte, path string, f *entry) []byte {
	stream = wire.AppendTarHeader(stream, &wire.TarMember{Path: path, Kind: mtree.File, Mode: f.Mode, MTime: f.MTime, CTime: f.CTime, Size: f.Size})
	return wire.AppendTarPadding(append(stream, f.data...), int64(len(f.data)))
}

// sendSums answers POST ?sums.
func (p *peer) sendSums(w http.ResponseWriter, r *http.Request, tree tree, plays []play) {
	var text []byte
	for _, path := range wanted(r) {
		if e := tree[path]; e != nil && e.Kind == mtree.File {
			text = wire.AppendSum(text, &wire.Sum{Path: path, SHA256: sha256.Sum256([]byte(e.data)), Tagged: true, Tag: wire.FileTagOf(&e.Entry)})
		}
	}
	answer := string(text)
	for _, play := range plays {
		if play.sums != nil {
			answer = play.sums(p, answer)
		}
	}
	_, _ = io.WriteString(w, answer)
}

// hijack takes the connection of a request, sends the text, and then what more writes until
// that fails or the peer ends. more may be nil.
func (p *peer) hijack(w http.ResponseWriter, text string, more func(conn net.Conn) error) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	go func() {
		<-p.done
		_ = conn.Close()
	}()
	if _, err = io.WriteString(conn, text); err != nil {
		return
	}
	for more != nil && err == nil {
		err = more(conn)
	}
}

// pause waits for a second.
func pause() { <-time.After(time.Second) }

// raw answers requests for a path ("": all) with bytes as they stand, and closes the
// connection.
func raw(path, text string) play {
	return play{answer: func(p *peer, w http.ResponseWriter, r *http.Request) bool {
		if path != "" && r.URL.Path != path {
			return false
		}
		p.hijack(w, text, nil)
		return true
	}}
}

// flood answers requests for a path with a text and then another one again and again.
func flood(path, begin, again string) play {
	return play{answer: func(p *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return false
		}
		p.hijack(w, begin, func(conn net.Conn) error {
			_, err := io.WriteString(conn, again)
			return err
		})
		return true
	}}
}

// noPost lets no POST through, so that every file is asked for by itself.
func noPost(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodPost {
		http.Error(w, "405", http.StatusMethodNotAllowed)
		return true
	}
	return false
}
