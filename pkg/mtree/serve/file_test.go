package serve_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/serve"
)

// Files: a strong ETag "MTIME-SIZE-CTIME", public and no-cache.
func TestFileHeaders(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a.txt": "hello", "b": "<html>"})
	e := s.list("/").Entries[0]
	a := s.get("/a.txt")
	tag := fmt.Sprintf(`"%s-%d-%s"`, e.MTime, e.Size, e.CTime)
	for key, want := range map[string]string{
		"ETag":           tag,
		"Last-Modified":  "Sat, 03 Feb 2024 04:05:06 GMT",
		"Cache-Control":  "public, no-cache",
		"Accept-Ranges":  "bytes",
		"Content-Type":   "text/plain; charset=utf-8",
		"Content-Length": "5",

		"X-Content-Type-Options":  "nosniff",
		"Content-Security-Policy": "sandbox",
	} {
		require.Equal(t, want, a.Header.Get(key), key)
	}
	require.Equal(t, "hello", a.body)
	require.Equal(t, "application/octet-stream", s.get("/b").Header.Get("Content-Type"), "nothing is guessed from bytes")
	head := s.do(http.MethodHead, "/a.txt", nil)
	head.Header.Del("Date")
	a.Header.Del("Date")
	require.Equal(t, a.Header, head.Header)
	require.Equal(t, int64(5), head.ContentLength)
}

// Conditional requests for files, in the order of RFC 9110, 13.2.2.
func TestFileConditions(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "hello"})
	tag := s.get("/a").Header.Get("ETag")
	const date, later, earlier = "Sat, 03 Feb 2024 04:05:06 GMT", "Sat, 03 Feb 2024 04:05:07 GMT", "Sat, 03 Feb 2024 04:05:05 GMT"
	for _, test := range []struct {
		status  int
		headers []string
	}{
		{200, []string{"If-Match", tag}},
		{200, []string{"If-Match", `"x", ` + tag}},
		{200, []string{"If-Match", "*"}},
		{412, []string{"If-Match", `"x"`}},
		{412, []string{"If-Match", "W/" + tag}},
		{412, []string{"If-Match", `"x"`, "If-None-Match", tag}},
		{304, []string{"If-None-Match", tag}},
		{304, []string{"If-None-Match", "W/" + tag}},
		{304, []string{"If-Match", tag, "If-None-Match", tag}},
		{200, []string{"If-None-Match", `"x"`, "If-Modified-Since", date}},
		{304, []string{"If-Modified-Since", date}},
		{200, []string{"If-Modified-Since", later}},
		{200, []string{"If-Modified-Since", earlier}},
		{412, []string{"If-Unmodified-Since", earlier}},
		{200, []string{"If-Unmodified-Since", date}},
		{200, []string{"If-Unmodified-Since", earlier, "If-Match", tag}},
	} {
		a := s.get("/a", test.headers...)
		require.Equal(t, test.status, a.StatusCode, test.headers)
		if test.status == 200 {
			require.Equal(t, "hello", a.body)
		}
	}
}

// Last-Modified of a file is never in the future, nor a second that can still bring another
// content.
func TestFileDate(t *testing.T) {
	now := mtree.Unix(1_700_000_000, 500_000_000)
	s := publishWatched(t, serve.Config{Now: func() mtree.Stamp { return now }}, map[string]string{"a": "1"})
	for sec, held := range map[int64]bool{1_699_999_999: false, 1_700_000_000: true, 1_900_000_000: true} {
		require.NoError(t, os.Chtimes(s.path("a"), time.Unix(sec, 0), time.Unix(sec, 0)))
		date := time.Unix(min(sec, 1_699_999_999), 0).UTC().Format(http.TimeFormat)
		require.Equal(t, date, s.get("/a").Header.Get("Last-Modified"))
		require.Equal(t, held, s.get("/a", "If-Modified-Since", date).StatusCode == 200, sec)
	}
}

// Regression: a file that was fetched and then written again within one second had the same date
// before and after, and who had the first content got a 304 for the second, for ever: wget -m
// kept it, whatever its size.
func TestTwoContentsOfOneSecond(t *testing.T) {
	now := mtree.Unix(1_700_000_000, 500_000_000)
	s := publishWatched(t, serve.Config{Now: func() mtree.Stamp { return now }}, map[string]string{"a": "first"})
	require.NoError(t, os.Chtimes(s.path("a"), time.Unix(1_700_000_000, 400_000_000), time.Unix(1_700_000_000, 400_000_000)))
	date := s.get("/a").Header.Get("Last-Modified")
	require.NoError(t, os.WriteFile(s.path("a"), []byte("the second"), 0o644))
	require.NoError(t, os.Chtimes(s.path("a"), time.Unix(1_700_000_000, 600_000_000), time.Unix(1_700_000_000, 600_000_000)))
	for _, now = range []mtree.Stamp{mtree.Unix(1_700_000_000, 700_000_000), mtree.Unix(1_700_000_009, 0)} {
		a := s.get("/a", "If-Modified-Since", date)
		require.Equal(t, 200, a.StatusCode, now)
		require.Equal(t, "the second", a.body)
		date = a.Header.Get("Last-Modified")
	}
	require.Equal(t, 304, s.get("/a", "If-Modified-Since", date).StatusCode)
}

// Ranges: single, several, from the end; what makes no sense is ignored; none
// within the file is 416; If-Range by strong ETag only.
func TestRanges(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "0123456789", "empty": ""})
	tag := s.get("/a").Header.Get("ETag")
	for _, test := range []struct {
		rang, condition string
		status          int
		body            string
	}{
		{"bytes=2-4", "", 206, "234"},
		{"bytes=7-", "", 206, "789"},
		{"bytes=-2", "", 206, "89"},
		{"bytes=5-99", "", 206, "56789"},
		{"bytes=-99", "", 206, "0123456789"},
		{"bytes=10-", "", 416, ""},
		{"bytes=-0", "", 416, ""},
		{"bytes=4-2", "", 200, "0123456789"},
		{"bytes=x", "", 200, "0123456789"},
		{"bytes=+1-2", "", 200, "0123456789"},
		{"lines=1-2", "", 200, "0123456789"},
		{"bytes=0-8,1-9", "", 200, "0123456789"},
		{"bytes=" + strings.Repeat("0-0,", 300) + "1-1", "", 200, "0123456789"},
		{"bytes=2-4", tag, 206, "234"},
		{"bytes=2-4", "W/" + tag, 200, "0123456789"},
		{"bytes=2-4", "Sat, 03 Feb 2024 04:05:06 GMT", 200, "0123456789"},
		{"bytes=2-4", `"x"`, 200, "0123456789"},
	} {
		headers := []string{"Range", test.rang}
		if test.condition != "" {
			headers = append(headers, "If-Range", test.condition)
		}
		a := s.get("/a", headers...)
		require.Equal(t, test.status, a.StatusCode, "%+v", test)
		switch test.status {
		case 416:
			require.Equal(t, "bytes */10", a.Header.Get("Content-Range"))
		default:
			require.Equal(t, test.body, a.body, "%+v", test)
			require.Equal(t, int64(len(test.body)), a.ContentLength)
		}
	}
	require.Equal(t, "bytes 2-4/10", s.get("/a", "Range", "bytes=2-4").Header.Get("Content-Range"))
	s.write("long", strings.Repeat("x", 1000))
	var many []string
	for i := range 257 {
		many = append(many, fmt.Sprintf("%d-%d", 2*i, 2*i))
	}
	require.Equal(t, 206, s.get("/long", "Range", "bytes="+strings.Join(many[1:], ",")).StatusCode)
	require.Equal(t, 200, s.get("/long", "Range", "bytes="+strings.Join(many, ",")).StatusCode, "too many ranges get the whole")
	require.Equal(t, 200, s.do(http.MethodHead, "/a", nil, "Range", "bytes=2-4").StatusCode)
	require.Equal(t, 200, s.get("/?txt", "Range", "bytes=0-3").StatusCode, "no ranges of listings")
	require.Equal(t, 416, s.get("/empty", "Range", "bytes=0-").StatusCode)
}

// Several ranges come as multipart/byteranges with an exact length.
func TestSeveralRanges(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a.txt": "0123456789"})
	for _, match := range []string{"", s.get("/a.txt").Header.Get("ETag")} {
		headers := []string{"Range", "bytes=0-1, 4-5,-1"}
		if match != "" {
			headers = append(headers, "If-Match", match)
		}
		a := s.get("/a.txt", headers...)
		require.Equal(t, 206, a.StatusCode)
		require.Equal(t, int64(len(a.body)), a.ContentLength)
		kind, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
		require.NoError(t, err)
		require.Equal(t, "multipart/byteranges", kind)
		parts := multipart.NewReader(strings.NewReader(a.body), params["boundary"])
		for _, want := range [][2]string{{"bytes 0-1/10", "01"}, {"bytes 4-5/10", "45"}, {"bytes 9-9/10", "9"}} {
			part, err := parts.NextPart()
			require.NoError(t, err)
			text, err := io.ReadAll(part)
			require.NoError(t, err)
			require.Equal(t, want, [2]string{part.Header.Get("Content-Range"), string(text)})
			require.Equal(t, "text/plain; charset=utf-8", part.Header.Get("Content-Type"))
		}
	}
}

// Files of all sizes around the pieces they are sent in arrive as they are,
// with If-Match and without.
func TestFileSizes(t *testing.T) {
	s := publishWatched(t, serve.Config{}, nil)
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20, 1<<20 + 64<<10, 3<<20 + 7} {
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(i * 7)
		}
		require.NoError(t, os.WriteFile(s.path("f"), content, 0o644))
		a := s.get("/f")
		require.Equal(t, string(content), a.body)
		require.Equal(t, string(content), s.get("/f", "If-Match", a.Header.Get("ETag")).body)
		if size > 2 {
			require.Equal(t, string(content[1:]), s.get("/f", "Range", "bytes=1-").body)
		}
	}
}

// slowly opens a connection that has asked for target and read the header only.
func (s *site) slowly(target string, headers ...string) (*http.Response, net.Conn) {
	s.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(s, err)
	s.Cleanup(func() { _ = conn.Close() })
	require.NoError(s, conn.(*net.TCPConn).SetReadBuffer(256<<10))
	request := "GET " + target + " HTTP/1.1\r\nHost: x\r\n"
	for i := 0; i+1 < len(headers); i += 2 {
		request += headers[i] + ": " + headers[i+1] + "\r\n"
	}
	_, err = io.WriteString(conn, request+"\r\n")
	require.NoError(s, err)
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	require.NoError(s, err)
	return response, conn
}

// A file that changes while it is sent: with If-Match the connection is cut
// before the last bytes, also if nothing but the ctime shows it; others get what
// nginx would give; one that shrinks is cut for all.
func TestFileChangesWhileSent(t *testing.T) {
	const size = 32 << 20 // more than sockets hold
	for _, test := range []struct {
		name   string
		strict bool
		change func(path string) error
		whole  bool
	}{
		{"grows, strict", true, appendTo, false},
		{"grows", false, appendTo, true},
		{"touched, strict", true, func(path string) error { return os.Chtimes(path, past, past.Add(time.Second)) }, false},
		{"rewritten with its old time, strict", true, rewrite, false},
		{"rewritten with its old time", false, rewrite, true},
		{"shrinks, strict", true, func(path string) error { return os.Truncate(path, 100) }, false},
		{"shrinks", false, func(path string) error { return os.Truncate(path, 100) }, false},
		{"unchanged, strict", true, func(string) error { return nil }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := publishWatched(t, serve.Config{Stats: &serve.Stats{}}, nil)
			require.NoError(t, os.WriteFile(s.path("f"), make([]byte, size), 0o644))
			var headers []string
			for i, part := range [][]string{nil, {"Range", "bytes=1-"}} {
				s.settle()
				if test.strict {
					headers = []string{"If-Match", s.do(http.MethodHead, "/f", nil).Header.Get("ETag")}
				}
				response, _ := s.slowly("/f", append(headers, part...)...)
				require.Equal(t, 200+6*i, response.StatusCode)
				require.NoError(t, test.change(s.path("f")))
				n, err := io.Copy(io.Discard, response.Body)
				if test.whole {
					require.NoError(t, err)
					require.Equal(t, response.ContentLength, n)
					continue
				}
				require.Error(t, err)
				require.Less(t, n, response.ContentLength)
				require.Eventually(t, func() bool { return s.cfg.Stats.Aborted.Load() == int64(i+1) }, 5*time.Second, time.Millisecond)
				require.NoError(t, os.WriteFile(s.path("f"), make([]byte, size), 0o644))
			}
		})
	}
}

// Regression: answers to If-Match went out by sendfile(2), which hands the pages of the file
// to the socket. A file that was rewritten in place after serve had compared it for the last
// time, and before the client had read everything, arrived mixed: whole in length, with the
// ETag that was asked for. It came so into copies, too.
func TestWhatWaitsInTheSocketStaysAsItWasRead(t *testing.T) {
	const size = 192 << 10 // less than the sockets hold
	s := publishWatched(t, serve.Config{Stats: &serve.Stats{}}, nil)
	old := bytes.Repeat([]byte("a"), size)
	for i, part := range [][]string{nil, {"Range", "bytes=0-"}, {"Range", "bytes=0-0,1-"}} {
		require.NoError(t, os.WriteFile(s.path("f"), old, 0o644))
		s.settle()
		tag := s.do(http.MethodHead, "/f", nil).Header.Get("ETag")
		sent := s.cfg.Stats.Files.Load()
		response, _ := s.slowly("/f", append([]string{"If-Match", tag}, part...)...)
		require.Equal(t, 200+6*min(i, 1), response.StatusCode)
		require.Eventually(t, func() bool { return s.cfg.Stats.Files.Load() > sent }, 5*time.Second, time.Millisecond, "serve waits for the reader")
		f, err := os.OpenFile(s.path("f"), os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt(bytes.Repeat([]byte("\x00"), size), 0)
		require.NoError(t, errors.Join(err, f.Close()))
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Zero(t, bytes.Count(body, []byte("\x00")), "bytes of a later version, %v", part)
		if len(part) == 0 {
			require.Equal(t, tag, response.Header.Get("ETag"))
			require.Equal(t, old, body)
		}
	}
}

// Regression: a write(2) sets the times of its file when it begins. What was read while it was
// under way was half of it, and was sent as the version with these times.
func TestAWriteUnderWay(t *testing.T) {
	const size = 96 << 20
	s := publishWatched(t, serve.Config{}, nil)
	require.NoError(t, os.WriteFile(s.path("f"), bytes.Repeat([]byte("a"), size), 0o644))
	f, err := os.OpenFile(s.path("f"), os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	for _, content := range []string{"b", "c", "d"} {
		before := s.do(http.MethodHead, "/f", nil).Header.Get("ETag")
		text, written := bytes.Repeat([]byte(content), size), make(chan error, 1)
		go func() {
			_, err := f.WriteAt(text, 0)
			written <- err
		}()
		tag := before
		for tag == before {
			tag = s.do(http.MethodHead, "/f", nil).Header.Get("ETag")
		}
		a := s.get("/f", "If-Match", tag, "Range", "bytes=-10")
		require.NoError(t, <-written)
		require.Equal(t, 206, a.StatusCode)
		require.Equal(t, strings.Repeat(content, 10), a.body, "of the version before, with the tag of this one")
	}
}

// rewrite changes one byte of a file and puts its time back.
func rewrite(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte("x"), info.Size()-1)
	return errors.Join(err, os.Chtimes(path, info.ModTime(), info.ModTime()))
}

func appendTo(path string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("more")
		_ = f.Close()
	}
	return err
}

// sendfile must be kept: what net/http is handed is the file itself.
func TestSendfileIsKept(t *testing.T) {
	s := publishWatched(t, serve.Config{}, nil)
	require.NoError(t, os.WriteFile(s.path("f"), make([]byte, 8<<20), 0o644))
	w := &fromFile{ResponseRecorder: httptest.NewRecorder()}
	s.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/f", nil))
	require.EqualValues(t, 8<<20, w.bytes)
}

// fromFile counts what comes straight from files.
type fromFile struct {
	*httptest.ResponseRecorder
	bytes int64
}

func (w *fromFile) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(io.Discard, r)
	if limited, ok := r.(*io.LimitedReader); ok {
		if _, ok := limited.R.(*os.File); ok {
			w.bytes += n
		}
	}
	return n, err
}

// FIFOs, sockets and devices are never opened and never listed.
func TestSpecialFiles(t *testing.T) {
	s := publishWatched(t, serve.Config{}, nil)
	require.NoError(t, syscall.Mkfifo(s.path("fifo"), 0o644))
	l, err := net.Listen("unix", s.path("socket"))
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, os.Symlink("fifo", s.path("link")))
	require.Equal(t, []string{"link"}, names(s.list("/")))
	for _, target := range []string{"/fifo", "/socket", "/link", "/fifo/", "/link/"} {
		require.Equal(t, 404, s.get(target).StatusCode, target)
	}
	// A FIFO without a writer blocks whoever opens it; a writer that opens it
	// without blocking finds out whether somebody did.
	_, err = os.OpenFile(s.path("fifo"), os.O_WRONLY|syscall.O_NONBLOCK, 0)
	require.ErrorIs(t, err, syscall.ENXIO)
}
