package hostile

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// slow is an attack by a connection that says this, and then nothing or little, and is
// closed within that time.
func slow(name, begin, drip string, most time.Duration) client {
	return client{name: name, hours: most > 30*time.Second, talk: func(s *target, _ testing.TB) (faults []string) {
		conn, err := s.dial(most + time.Minute)
		if err != nil {
			return []string{err.Error()}
		}
		defer conn.Close()
		begun := time.Now()
		_, _ = io.WriteString(conn, begin)
		over := make(chan struct{})
		defer close(over)
		if drip != "" {
			go func() {
				for n := 0; ; n++ {
					select {
					case <-over:
						return
					case <-time.After(300 * time.Millisecond):
					}
					if _, err := io.WriteString(conn, drip[n%len(drip):][:1]); err != nil {
						return
					}
				}
			}()
		}
		return within(conn, begun, most)
	}}
}

// many is an attack by many connections at once, of which each does this.
func many(name string, count int, each func(s *target, conn *net.TCPConn, n int)) client {
	return client{name: name, talk: func(s *target, t testing.TB) []string {
		var all sync.WaitGroup
		for n := range count {
			all.Go(func() {
				conn, err := s.dial(patience)
				if err != nil {
					return // enough is enough, for a server, too
				}
				defer conn.Close()
				each(s, conn, n)
			})
		}
		all.Wait()
		return nil
	}}
}

// reads takes that many bytes.
func reads(conn net.Conn, bytes int64) { _, _ = io.CopyN(io.Discard, conn, bytes) }

// crowds are clients that are many, or slow.
var crowds = []client{
	slow("slow-nothing", "", "", 25*time.Second),
	slow("slow-in-the-method", "GE", "", 25*time.Second),
	slow("slow-in-the-target", "GET /", "x", 25*time.Second),
	slow("slow-in-a-header", "GET /f HTTP/1.1\r\nHost: x\r\nX: ", "x", 25*time.Second),
	slow("slow-headers", "GET /f HTTP/1.1\r\nHost: x\r\n", "X: y\r\n", 25*time.Second),
	slow("slow-line-ends", "", "\r\n", 25*time.Second),
	slow("slow-second-request", "GET /f HTTP/1.1\r\nHost: x\r\n\r\nGET /", "x", 25*time.Second),
	slow("slow-body-of-a-get", "GET /f HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n", "x", 25*time.Second),
	slow("slow-body-of-a-put", "PUT /f HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n", "x", 25*time.Second),
	slow("slow-body", "POST /?tar HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n", "f\n", 60*time.Second),
	slow("slow-chunks", "POST /?tar HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nf\r\n", 60*time.Second),
	slow("idle-after-an-answer", "GET /f HTTP/1.1\r\nHost: x\r\n\r\n", "", 150*time.Second),
	slow("slow-reader-of-nothing", "GET /?txt&wait=45 HTTP/1.1\r\nHost: x\r\nIf-None-Match: W/\"x\"\r\n\r\n", "", 150*time.Second),

	many("crowd-of-1000-that-say-nothing", 1000, func(_ *target, _ *net.TCPConn, _ int) {}),
	many("crowd-of-500-that-hang-up-in-a-request", 500, func(_ *target, conn *net.TCPConn, _ int) {
		_, _ = io.WriteString(conn, "GET /f HT")
	}),
	many("crowd-of-300-that-reset-in-an-answer", 300, func(_ *target, conn *net.TCPConn, n int) {
		_, _ = io.WriteString(conn, request([]string{"/big", "/many/?txt", "/?tar", "/many/?json"}[n%4]))
		reads(conn, int64(n*50))
		_ = conn.SetLinger(0)
	}),
	many("crowd-of-300-that-wait-and-hang-up", 300, func(s *target, conn *net.TCPConn, n int) {
		tag := regexp.MustCompile(`(?i)\r\netag: ([^\r]+)`).FindStringSubmatch(s.ask(request("/?txt")))
		if tag != nil {
			_, _ = io.WriteString(conn, request("/?txt&wait=45", "If-None-Match: "+tag[1]))
		}
	}),
	many("crowd-of-50-that-read-nothing", 50, func(_ *target, conn *net.TCPConn, n int) {
		_ = conn.SetReadBuffer(4096)
		_, _ = io.WriteString(conn, strings.Repeat("GET "+[]string{"/big", "/many/?txt", "/?tar"}[n%3]+" HTTP/1.1\r\nHost: x\r\n\r\n", 20))
		<-time.After(2 * time.Second)
	}),
	many("crowd-of-50-that-read-a-byte-at-a-time", 50, func(_ *target, conn *net.TCPConn, n int) {
		_ = conn.SetReadBuffer(4096)
		_, _ = io.WriteString(conn, request([]string{"/big", "/many/?txt", "/?tar", "/many/?sums"}[n%4]))
		for range 20 {
			<-time.After(100 * time.Millisecond)
			reads(conn, 1)
		}
	}),
	many("crowd-of-100-searches", 100, func(_ *target, conn *net.TCPConn, n int) {
		_, _ = io.WriteString(conn, request([]string{"/?recent=1000", "/?txt&since=0", "/?sums", "/?tar"}[n%4]))
		reads(conn, 1<<20)
	}),
	many("half-closed", 100, func(_ *target, conn *net.TCPConn, _ int) {
		_ = conn.CloseWrite()
		reads(conn, 1<<20)
	}),
	many("half-closed-the-other-way", 100, func(_ *target, conn *net.TCPConn, _ int) {
		_ = conn.CloseRead()
		_, _ = io.WriteString(conn, request("/big"))
	}),
}

// swapping replaces something in the tree by something else, again and again, while clients
// ask for paths through it: nothing of outside comes.
func swapping(name string, swap func(s *target, n int), paths ...string) client {
	return client{name: name, talk: func(s *target, t testing.TB) (faults []string) {
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					swap(s, n)
				}
			}
		}()
		for late := time.Now().Add(1500 * time.Millisecond); time.Now().Before(late) && len(faults) == 0; {
			var text strings.Builder
			for _, path := range paths {
				text.WriteString("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
			}
			c := client{half: true, most: 64 << 20}
			faults = c.speak(s, text.String())
		}
		close(stop)
		<-ended
		return faults
	}}
}

// races are trees that change while they are read.
var races = []client{
	swapping("race-directory-and-link-out", func(s *target, n int) {
		at := filepath.Join(s.root, "swap")
		_ = os.Rename(at, at+"ped")
		_ = os.Symlink([]string{"../outside", "../tree/../outside"}[n%2], at)
		_ = os.Remove(at)
		_ = os.Rename(at+"ped", at)
	}, "/swap/secret", "/swap/?txt", "/swap/?json", "/swap/?sums", "/swap/?tar", "/swap/?html", "/swap", "/?txt&since=0", "/swapped/secret"),
	swapping("race-file-and-link-out", func(s *target, _ int) {
		at := filepath.Join(s.root, "race1")
		_ = os.WriteFile(at, []byte("harmless"), 0o644)
		_ = os.Symlink("../secret", at+".new")
		_ = os.Rename(at+".new", at)
		_ = os.Remove(at)
	}, "/race1", "/?sums", "/race1?x", "/?json"),
	swapping("race-file-and-fifo", func(s *target, _ int) {
		at := filepath.Join(s.root, "race2")
		_ = os.WriteFile(at, []byte("harmless"), 0o644)
		_ = os.Remove(at)
		_ = mkfifo(at)
		_ = os.Remove(at)
	}, "/race2", "/race2?x", "/?recent=5"),
	swapping("race-file-shrinks-and-grows", func(s *target, n int) {
		at := filepath.Join(s.root, "race3")
		_ = os.WriteFile(at, []byte(strings.Repeat("x", n%300_000)), 0o644)
		_ = os.Truncate(at, int64(n%1000))
	}, "/race3", "/race3", "/?txt"),
	swapping("race-directory-and-file", func(s *target, _ int) {
		at := filepath.Join(s.root, "race4")
		_ = os.MkdirAll(at+"/d/e", 0o755)
		_ = os.RemoveAll(at)
		_ = os.WriteFile(at, nil, 0o644)
		_ = os.Remove(at)
	}, "/race4", "/race4/", "/race4/d/e/?txt", "/?txt&since=0"),
	swapping("race-excluded-and-not", func(s *target, _ int) {
		at := filepath.Join(s.root, "race5")
		_ = os.MkdirAll(at+"/d", 0o755)
		_ = os.WriteFile(at+"/d/private", []byte(canary), 0o644)
		_ = os.Rename(at, filepath.Join(s.root, ".race5"))
		_ = os.Rename(filepath.Join(s.root, ".race5"), at)
	}, "/race5/d/private", "/.race5/d/private", "/race5/d/?txt", "/race5/?tar"),
}

// strangers are clients without the right token.
var strangers = []client{
	stranger("token-none"),
	stranger("token-wrong", "Authorization: Bearer wrong"),
	stranger("token-empty", "Authorization: Bearer "),
	stranger("token-prefix", "Authorization: Bearer "+secret[:10]),
	stranger("token-longer", "Authorization: Bearer "+secret+"x"),
	stranger("token-of-60-kib", "Authorization: Bearer "+strings.Repeat(secret, 2000)),
	stranger("token-with-a-nul", "Authorization: Bearer "+secret+"\x00"),
	stranger("token-and-line-end", "Authorization: Bearer "+secret+"%0a"),
	stranger("token-of-another-scheme", "Authorization: Digest "+secret),
	stranger("token-without-a-scheme", "Authorization: "+secret),
	stranger("token-two-headers", "Authorization: Bearer wrong", "Authorization: Bearer "+secret),
	stranger("token-in-a-cookie", "Cookie: token="+secret),
	stranger("token-basic-wrong", "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("user:wrong"))),
	stranger("token-basic-as-the-user", "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(secret+":"))),
	stranger("token-basic-garbage", "Authorization: Basic ====\xff"),
	stranger("token-basic-without-a-colon", "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(secret))),
	stranger("token-negotiate", "Authorization: Negotiate "+strings.Repeat("A", 1000)),
	{name: "token-in-the-target", tokens: true, send: request("/f?token=" + secret + "&access_token=" + secret), statuses: []int{401}},
	{name: "token-in-absolute-form", tokens: true, send: request("http://user:" + secret + "@x/f"), statuses: []int{400, 401}},
	{name: "token-of-a-post", tokens: true, send: post("/?tar", "f\n"), methods: []string{"POST"}, statuses: []int{401}},
	{name: "token-of-status", tokens: true, send: request("/?status"), statuses: []int{401}},
	{name: "token-of-what-is-not-there", tokens: true, send: request("/none"), statuses: []int{401}},
	{name: "token-of-a-put", tokens: true, send: "PUT /f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", statuses: []int{401, 405}},
	{name: "token-right", tokens: true, send: request("/f", "Authorization: Bearer "+secret), statuses: []int{200}, tells: "hello"},
	{name: "token-right-as-a-password", tokens: true, send: request("/f", "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("x:"+secret))), statuses: []int{200}, tells: "hello"},
	{name: "token-of-the-request-before", tokens: true, half: true, send: "GET /f HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + secret + "\r\n\r\nGET /d/x HTTP/1.1\r\nHost: x\r\n\r\n", tells: "401"},
	{name: "token-is-compared-in-constant-time", tokens: true, talk: constantTime},
}

// stranger is an attack by headers of a client that is not let in.
func stranger(name string, headers ...string) client {
	return client{name: name, tokens: true, send: request("/f", headers...), statuses: []int{400, 401, 431}}
}

// constantTime asks with tokens of which none, half, and all but one byte are right. What
// the network adds is a thousand times more than what a comparison takes, so this finds
// only what is gross.
func constantTime(s *target, _ testing.TB) (faults []string) {
	var least [3]time.Duration
	for range 30 {
		for i, right := range []int{0, len(secret) / 2, len(secret) - 1} {
			begun := time.Now()
			s.ask(request("/f", "Authorization: Bearer "+secret[:right]+strings.Repeat("x", len(secret)-right)))
			if took := time.Since(begun); least[i] == 0 || took < least[i] {
				least[i] = took
			}
		}
	}
	for i := range least {
		if least[i] > 10*least[0]+10*time.Millisecond {
			faults = append(faults, fmt.Sprintf("tokens take %v", least))
		}
	}
	return faults
}
