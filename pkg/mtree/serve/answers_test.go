package serve_test

import (
	"compress/gzip"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http/httputil"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

var update = flag.Bool("update", false, "write testdata/answers.txt anew")

const answersFile = "testdata/answers.txt"

// TestAnswers compares every byte of the answers to a broad list of requests with
// testdata/answers.txt: status, headers, and bodies. What differs from run to run is replaced, see (*answers).plain. To accept
// new answers: go test ./pkg/mtree/serve -run TestAnswers -update.
func TestAnswers(t *testing.T) {
	a := &answers{T: t, requests: map[string][]string{}}
	a.watchedTree()
	a.unwatchedTree()
	a.copies()
	a.guardedTree()
	a.replacedRoot()
	have := a.texts()
	if *update {
		require.NoError(t, os.WriteFile(answersFile, []byte(strings.Join(have, separator)), 0o644))
	}
	want, err := os.ReadFile(answersFile)
	require.NoError(t, err)
	wanted := strings.Split(string(want), separator)
	for i := range min(len(wanted), len(have)) {
		require.Equal(t, wanted[i], have[i])
	}
	require.Len(t, have, len(wanted))
}

const separator = "\n\n----\n"

// answers gathers requests and what was answered.
type answers struct {
	*testing.T
	site     *site
	name     string
	tags     map[string]string   // by target: ETags, for conditions
	order    []string            // the answers as they came, each once
	requests map[string][]string // by answer: what was asked
}

// texts returns the answers, each below the requests that had it.
func (a *answers) texts() (texts []string) {
	for _, text := range a.order {
		texts = append(texts, strings.Join(a.requests[text], "\n")+"\n\n"+text)
	}
	return texts
}

// begin makes the following requests go to s.
func (a *answers) begin(name string, s *site) {
	a.name, a.site, a.tags = name, s, map[string]string{}
}

// answersTree is the tree that most requests are for.
func answersTree() map[string]string {
	return map[string]string{
		"a.txt": "0123456789", "empty": "", "big.bin": strings.Repeat("0123456789abcdef", 8<<10), "page.html": "<p>",
		"d/b c&<\">'": "two", "d/sub/deep.json": "{}", "d/\xff\n": "bytes", "l/down": "-> ../d", "l/file": "-> ../a.txt",
		"l/out": "-> ../..", "l/gone": "-> nothing", ".dot": "hidden", "none/": "", "x.tmp": "excluded",
	}
}

func (a *answers) watchedTree() {
	now := mtree.Unix(1_800_000_000, 500_000_000)
	s := publishWatched(a.T, serve.Config{
		Tar: true, Exclude: []string{"*.tmp"}, Now: func() mtree.Stamp { return now }, Version: "test",
	}, answersTree())
	require.NoError(a, os.Symlink("a.txt", s.path("link")))
	require.NoError(a, os.Chmod(s.path("a.txt"), 0o600))
	for _, link := range []string{"link", "l/down", "l/file", "l/out", "l/gone"} {
		at := unix.NsecToTimeval(past.UnixMicro() * 1000)
		require.NoError(a, unix.Lutimes(s.path(link), []unix.Timeval{at, at}))
	}
	s.settle()
	a.begin("watched", s)
	for _, dir := range []string{"/", "/d/", "/l/", "/none/"} {
		for _, format := range []string{"txt", "json", "html"} {
			a.both(dir + "?" + format)
			a.both(dir+"?"+format, "Accept-Encoding: gzip")
			a.both(dir+"?"+format, "If-None-Match: @"+dir+"?"+format)
			a.both(dir+"?"+format, "If-Modified-Since: Sat, 03 Feb 2024 04:05:06 GMT")
		}
	}
	for _, accept := range []string{"text/html", "application/json", "text/plain", "text/*;q=0.5, application/json;q=0.4", "*/*"} {
		a.get("/d/", "Accept: "+accept)
	}
	a.get("/d/", "User-Agent: curl/8", "Accept-Encoding: br, gzip;q=0.5")
	a.get("/d/?txt", "Accept-Encoding: gzip;q=0, *")
	a.get("/d/?txt", `If-None-Match: "x", W/"y"`)
	a.get("/d/?txt", "If-None-Match: *")
	a.get("/d/?txt", "If-None-Match: @/d/?txt", "If-Modified-Since: Sat, 03 Feb 2024 04:05:06 GMT", "Accept-Encoding: gzip")
	a.both("/d/?txt", "If-Match: @/d/?txt")
	a.get("/d/?txt", "If-Match: *")
	a.get("/d/?txt", "Range: bytes=0-3")
	a.get("/d?txt&x=%20%ff")
	a.get("//d/.//?txt")
	a.get("//d?txt")
	a.files()
	a.errors()
	a.waits()
	a.bulks()
}

func (a *answers) files() {
	for _, file := range []string{"/a.txt", "/empty", "/big.bin", "/page.html", "/d/sub/deep.json", "/l/file", "/link"} {
		a.both(file)
		a.both(file, "If-None-Match: @"+file)
		a.both(file, "If-Match: @"+file)
		a.both(file, `If-Match: "x"`)
	}
	for _, headers := range []string{
		"If-Match: *", "If-Modified-Since: Sat, 03 Feb 2024 04:05:06 GMT", "If-Modified-Since: Sat, 03 Feb 2024 04:05:07 GMT",
		"If-Unmodified-Since: Sat, 03 Feb 2024 04:05:05 GMT", "If-Unmodified-Since: Sat, 03 Feb 2024 04:05:06 GMT",
		"Range: bytes=2-4", "Range: bytes=-3", "Range: bytes=9-, 0-1", "Range: bytes=10-", "Range: bytes=5-2", "Range: x",
		"Range: bytes=0-8,1-9", "Range: bytes=2-4\nIf-Range: @/a.txt", `Range: bytes=2-4` + "\n" + `If-Range: "x"`,
		"Range: bytes=2-4\nIf-Match: @/a.txt", "Range: bytes=0-0,5-6\nIf-Match: @/a.txt", "Range: bytes=20-30\nIf-Match: @/a.txt",
		"Accept-Encoding: gzip",
	} {
		a.both("/a.txt", strings.Split(headers, "\n")...)
	}
	a.get("/big.bin", "Range: bytes=1-70000")
	a.get("/big.bin", "Range: bytes=1-70000", "If-Match: @/big.bin")
	a.get("/big.bin", "Range: bytes=1-2,100-70100", "If-Match: @/big.bin")
}

func (a *answers) errors() {
	for _, target := range []string{
		"/missing", "/missing/", "/d/missing?txt", "/.dot", "/.tidemark/", "/x.tmp", "/a.txt/", "/d/%2f", "/%00", "/d/..", "/l/out", "/l/out/",
		"/l/gone", "/l/down", "/l/down/", "/l/down/?txt&x", "/l/down/sub/", "//l/down/", "/" + strings.Repeat("y/", 2100),
	} {
		a.both(target)
	}
	for _, method := range []string{"PUT", "DELETE", "OPTIONS", "PROPFIND", "POST"} {
		a.ask(method, "/d/?txt", "")
	}
	a.ask("OPTIONS", "*", "")
	a.ask("PUT", "/d/", "body")
	a.ask("GET", "/d/?txt", "body")
	a.ask("HEAD", "/a.txt", "body")
}

func (a *answers) waits() {
	a.get("/d/?txt&wait=0.01", "If-None-Match: @/d/?txt")
	a.get("/d/?txt&wait=0.01", "If-None-Match: @/d/?txt", "Accept-Encoding: gzip")
	a.get("/l/?json&wait=0.01", "If-None-Match: @/l/?json")
	a.get("/d/?html&wait=1", `If-None-Match: "x"`)
	a.both("/d/?txt&wait=1")
	a.get("/d/?txt&wait=1", `If-Match: "x"`)
	a.get("/missing/?txt&wait=1", `If-None-Match: "x"`)
	const past = "1706933106.123456789"
	for _, query := range []string{
		"since=0", "since=" + past, "since=0&after=d", "since=0&after=zzz", "since=" + past + "&wait=0.01", "since=9999999999", "since=x",
		"since=0&after=../x", "since=0&epoch=6", "since=0&epoch=7&wait=1",
	} {
		a.both("/?txt&" + query)
		a.get("/?txt&"+query, "Accept-Encoding: gzip")
	}
	a.get("/d/?since=0")
	a.get("/?txt&since="+past+"&wait=0.01", "If-None-Match: @/?txt")
	a.get("/?txt&since="+past, `If-None-Match: W/"1-txt-000000"`)
	a.get("/missing/?since=0")
}

func (a *answers) bulks() {
	for _, query := range []string{"recent=3", "recent=0", "recent=x", "recent=2&txt", "recent=2&json", "status", "tar", "sums", "sums&tags"} {
		a.both("/?" + query)
		a.both("/d/?"+query, "Accept-Encoding: gzip")
		a.get("/missing/?" + query)
	}
	a.get("/l/?recent=2&html")
	for _, query := range []string{"tar", "sums", "sums&tags"} {
		a.ask("POST", "/?"+query, "a.txt\nempty\nmissing\nd\nlink\nx.tmp\n.dot\nd/%FF%0A\n")
		a.ask("POST", "/d/?"+query, "")
		a.ask("POST", "/?"+query, "../up\n")
		a.ask("POST", "/?"+query, "\n")
		a.ask("POST", "/?"+query, strings.Repeat("a\n", 10_001))
		a.ask("POST", "/?"+query, "a.txt\n", "Transfer-Encoding: chunked")
		a.ask("POST", "/missing/?"+query, "a.txt\n")
		a.ask("POST", "/.dot/?"+query, "a.txt\n")
		a.ask("POST", "/d?"+query, "a.txt\n")
	}
}

func (a *answers) unwatchedTree() {
	s := publish(a.T, serve.Config{Owner: true, Hidden: true}, answersTree())
	a.begin("unwatched", s)
	for _, format := range []string{"txt", "json", "html"} {
		a.both("/d/?" + format)
		a.both("/d/?"+format, "Accept-Encoding: gzip")
		a.both("/d/?"+format, "If-None-Match: @/d/?"+format)
		a.both("/d/?"+format, "If-Modified-Since: Sat, 03 Feb 2024 04:05:06 GMT")
		a.get("/d/?"+format+"&wait=0.01", "If-None-Match: @/d/?"+format)
	}
	for _, target := range []string{"/.dot", "/?txt&since=0", "/?txt&since=0&wait=1", "/?recent=2", "/?tar", "/?status", "/d/?sums"} {
		a.both(target)
	}
}

func (a *answers) copies() {
	for _, finished := range []bool{false, true} {
		s := &site{T: a.T, root: a.T.TempDir()}
		s.cfg = serve.Config{Root: s.root}
		s.write("d/a", "1")
		s.settle()
		watched(a.T, s.root, wire.Mirrored)
		s.alterTree(func(tree *state.Tree) { tree.Path = "/up" })
		if finished {
			a.finish(s, "", "d")
		}
		s.start()
		a.begin(fmt.Sprintf("copy, finished: %t", finished), s)
		for _, target := range []string{"/?txt", "/?html", "/d/?json", "/?txt&since=0", "/?recent=1", "/?status"} {
			a.both(target)
			a.both(target, "If-None-Match: @/?txt")
		}
		a.get("/d/?json&wait=0.01", "If-None-Match: @/d/?json")
	}
}

// finish writes records that say that these directories of a copy are finished.
func (a *answers) finish(s *site, paths ...string) {
	root, err := disk.OpenRoot(s.root)
	require.NoError(a, err)
	defer root.Close()
	m, err := state.OpenMarker(root, "")
	require.NoError(a, err)
	defer m.Close()
	log, err := records.OpenLog(m)
	require.NoError(a, err)
	defer log.Close()
	for _, path := range paths {
		require.NoError(a, log.Set(path, records.Record{Stamp: mtree.FromTime(past)}))
	}
	s.settle()
}

func (a *answers) guardedTree() {
	s := publishWatched(a.T, serve.Config{Tokens: []string{"secret"}}, map[string]string{"a": "1", "d/b": "2"})
	a.begin("with tokens", s)
	for _, headers := range [][]string{nil, {"Authorization: Bearer wrong"}, {"Authorization: Bearer secret"}} {
		for _, target := range []string{"/?txt", "/?status", "/a", "/?tar", "/?txt&since=0", "/d", "/d/"} {
			a.both(target, headers...)
		}
		a.ask("POST", "/?sums", "a\n", headers...)
		a.ask("PUT", "/", "a\n", headers...)
	}
}

func (a *answers) replacedRoot() {
	outer := a.TempDir()
	root := filepath.Join(outer, "root")
	require.NoError(a, os.Mkdir(root, 0o755))
	s := publishWatched(a.T, serve.Config{Root: root}, map[string]string{"a": "1", "d/b": "2"})
	require.NoError(a, os.Rename(root, root+".old"))
	require.NoError(a, os.Mkdir(root, 0o755))
	require.Eventually(a, func() bool { return s.get("/?txt").StatusCode == 503 }, 5*time.Second, 10*time.Millisecond)
	a.begin("with a replaced root", s)
	for _, target := range []string{"/?txt", "/d/?json", "/d/?status", "/?status", "/a", "/?txt&since=0&wait=1"} {
		a.both(target)
	}
	a.ask("POST", "/?sums", "a\n")
}

func (a *answers) get(target string, headers ...string) {
	a.Helper()
	a.ask("GET", target, "", headers...)
}

// both asks by GET and by HEAD.
func (a *answers) both(target string, headers ...string) {
	a.Helper()
	a.get(target, headers...)
	a.ask("HEAD", target, "", headers...)
}

// ask sends a request and adds the answer. In headers "@TARGET" stands for the ETag
// that a GET of it was answered with.
func (a *answers) ask(method, target, body string, headers ...string) {
	a.Helper()
	short := target
	if len(short) > 100 {
		short = short[:100] + "..."
	}
	asked := strings.Join(strings.Fields(fmt.Sprintf("%s: %s %s %s %s", a.name, method, short, strings.Join(headers, " | "), a.plain(body[:min(len(body), 60)]))), " ")
	request := method + " " + target + " HTTP/1.1\r\nHost: x\r\n"
	chunks := false
	for _, header := range headers {
		key, value, _ := strings.Cut(header, ": ")
		if at, is := strings.CutPrefix(value, "@"); is {
			require.NotEmpty(a, a.tags[at], at)
			header = key + ": " + a.tags[at]
		}
		chunks = chunks || value == "chunked"
		request += header + "\r\n"
	}
	switch {
	case chunks:
		body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	case body != "" || method == "POST":
		request += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	head, content := a.exchange(method, request+"\r\n"+body)
	if tag := regexp.MustCompile(`(?m)^Etag: (.*)\r$`).FindStringSubmatch(head); tag != nil && method == "GET" && len(headers) == 0 {
		a.tags[target] = tag[1]
	}
	if strings.Contains(head, "Content-Encoding: gzip\r\n") {
		head = regexp.MustCompile(`(?m)^Content-Length: \d+\r$`).ReplaceAllString(head, "Content-Length: (compressed)\r")
		content = a.unzip(content)
	}
	if strings.Contains(target, "status") {
		head = regexp.MustCompile(`(?m)^Content-Length: \d{3}\r$`).ReplaceAllString(head, "Content-Length: (varies)\r")
	}
	text := a.plain(head + content)
	if a.requests[text] == nil {
		a.order = append(a.order, text)
	}
	a.requests[text] = append(a.requests[text], asked)
}

func (a *answers) unzip(content string) string {
	if content == "" {
		return ""
	}
	zip, err := gzip.NewReader(strings.NewReader(content))
	require.NoError(a, err)
	plain, err := io.ReadAll(zip)
	require.NoError(a, err)
	return string(plain)
}

// exchange sends a request on a connection of its own, and the next one on the same
// to see where the answer ends. Chunks are put together.
func (a *answers) exchange(method, request string) (head, body string) {
	a.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.site.url, "http://"))
	require.NoError(a, err)
	defer conn.Close()
	require.NoError(a, conn.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = io.WriteString(conn, request+"GET /end HTTP/1.0\r\n\r\n")
	require.NoError(a, err)
	all, _ := io.ReadAll(conn) // a connection that is reset has been answered
	head, body, _ = strings.Cut(string(all), "\r\n\r\n")
	head += "\r\n\r\n"
	switch length := regexp.MustCompile(`(?m)^Content-Length: (\d+)\r$`).FindStringSubmatch(head); {
	case method == "HEAD", strings.HasPrefix(head, "HTTP/1.1 304"):
		body, _, _ = strings.Cut(body, "HTTP/1.")
	case strings.Contains(head, "\r\nTransfer-Encoding: chunked\r\n"):
		chunks, _ := io.ReadAll(httputil.NewChunkedReader(strings.NewReader(body)))
		body = string(chunks)
	case length != nil:
		n := 0
		_, err := fmt.Sscan(length[1], &n)
		require.NoError(a, err)
		require.GreaterOrEqual(a, len(body), n)
		body = body[:n]
	}
	return head, body
}

var replacements = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`(?m)^Date: .*\r$`), "Date: (now)\r"},
	{regexp.MustCompile(`17(0693310[0-57-9]|069331[1-9]\d|06933[2-9]\d\d|0693[4-9]\d{3}|069[4-9]\d{4}|0[7-9]\d{6}|[1-9]\d{7})\.\d{9}`), "(recent)"},
	{regexp.MustCompile(`\b1[89]\d{8}\.\d{9}`), "(recent)"},
	{regexp.MustCompile(`-(txt|json|html)-[0-9a-f]{6}\b`), "-$1-(E)"},
	{regexp.MustCompile(`h[0-9a-f]{24}-`), "(hash)-"},
	{regexp.MustCompile(`\tid=[0-9a-f]{16}`), "\tid=(id)"},
	{regexp.MustCompile(`(?s)<style>.*?</style>`), "<style>(style)</style>"},
	{regexp.MustCompile(`(?s)<script>.*?</script>`), "<script>(script)</script>"},
	{regexp.MustCompile(`sha256-[A-Za-z0-9+/]{43}=`), "(sha256)"},
	{regexp.MustCompile(`[0-9a-f]{60}`), "(boundary)"},
	{regexp.MustCompile(`uid=\d+:\d+|owner=\d+:\d+`), "(owner)"},
	{regexp.MustCompile(`"lag": [\d.e-]+`), `"lag": (time)`},
	{regexp.MustCompile(`#[0-9a-f]{16} `), "#(copy) "},
	{regexp.MustCompile(`(?m)^(Last-Modified: ).* 20(2[5-9]|[3-9]\d) .*\r$`), "$1(recent)\r"},
	{regexp.MustCompile(`\w{3}, \d\d \w{3} 20(2[5-9]|[3-9]\d) [\d:]{8} GMT`), "(recent)"},
	{regexp.MustCompile(`\b20(2[5-9]|[3-9]\d)-\w{3}-\d\d [\d:]{8}`), "(recent)"},
}

// plain replaces what differs from run to run: times other than past, tags that depend on
// them, and boundaries; and what does not print.
func (a *answers) plain(text string) string {
	for _, r := range replacements {
		text = r.pattern.ReplaceAllString(text, r.by)
	}
	var out strings.Builder
	text = regexp.MustCompile("\x00{9,}").ReplaceAllStringFunc(text, func(zeros string) string { return fmt.Sprintf("(%d zeros)", len(zeros)) })
	for line := range strings.SplitAfterSeq(text, "\n") {
		if len(line) > 4000 {
			line = fmt.Sprintf("%s... (%d bytes, sum %x)\n", line[:50], len(line), crc32.ChecksumIEEE([]byte(line)))
		}
		quoted := fmt.Sprintf("%q", strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"))
		out.WriteString(strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(quoted[1:len(quoted)-1]) + "\n")
	}
	return strings.TrimSuffix(out.String(), "\n")
}
