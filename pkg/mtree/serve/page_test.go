//go:build interop

package serve_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/serve"
)

// browser is a page in headless Chromium, which gets its commands by the DevTools
// protocol over a pipe: JSON messages that end in NUL.
type browser struct {
	*testing.T
	in      io.Writer
	out     *bufio.Reader
	id      int
	session string
}

func browse(t *testing.T, url string, width, height int) *browser {
	t.Helper()
	profile, err := os.MkdirTemp("", "chromium-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(profile) }) // its other processes may write there for a moment
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--remote-debugging-pipe", "--user-data-dir="+profile)
	theirIn, in, err := os.Pipe()
	require.NoError(t, err)
	out, theirOut, err := os.Pipe()
	require.NoError(t, err)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // descriptors 3 and 4
	require.NoError(t, cmd.Start(), "install the packages that .ci/run names")
	_ = theirIn.Close()
	_ = theirOut.Close()
	b := &browser{T: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		b.call("Browser.close", nil)
		_ = cmd.Wait()
	})
	require.NoError(t, out.SetReadDeadline(time.Now().Add(3*time.Minute)))
	target := b.call("Target.createTarget", map[string]any{"url": "about:blank"})
	attached := b.call("Target.attachToTarget", map[string]any{"targetId": target["targetId"], "flatten": true})
	b.session = attached["sessionId"].(string)
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false})
	b.call("Page.navigate", map[string]any{"url": url})
	b.until(`document.readyState === "complete" && !!document.querySelector("#state")`)
	return b
}

// call sends one command and returns its result.
func (b *browser) call(method string, params map[string]any) map[string]any {
	b.Helper()
	result, failure := b.try(method, params)
	require.Nil(b, failure, method)
	return result
}

// try sends one command and returns its result or why there is none.
func (b *browser) try(method string, params map[string]any) (result map[string]any, failure any) {
	b.Helper()
	b.id++
	message := map[string]any{"id": b.id, "method": method, "params": params}
	if b.session != "" && !strings.HasPrefix(method, "Browser.") {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	require.NoError(b, err)
	_, err = b.in.Write(append(text, 0))
	require.NoError(b, err)
	for {
		text, err := b.out.ReadBytes(0)
		if method == "Browser.close" && err != nil {
			return nil, nil
		}
		require.NoError(b, err)
		var answer struct {
			ID     int
			Result map[string]any
			Error  any
		}
		require.NoError(b, json.Unmarshal(text[:len(text)-1], &answer))
		if answer.ID == b.id {
			return answer.Result, answer.Error
		}
	}
}

// eval returns the value of an expression in the page.
func (b *browser) eval(expression string) any {
	b.Helper()
	value, failure := b.evalNow(expression)
	require.Nil(b, failure, expression)
	return value
}

func (b *browser) evalNow(expression string) (value, failure any) {
	b.Helper()
	result, failure := b.try("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true})
	if failure != nil {
		return nil, failure
	}
	require.NotContains(b, result, "exceptionDetails", expression)
	return result["result"].(map[string]any)["value"], nil
}

// until waits for a condition. Where the page goes to another meanwhile, nothing
// can be asked for a moment.
func (b *browser) until(condition string) {
	b.Helper()
	end := time.Now().Add(30 * time.Second)
	for {
		if value, _ := b.evalNow(condition); value == true {
			return
		}
		if time.Now().After(end) {
			require.Fail(b, condition, "%v", b.eval("document.body?.outerHTML.slice(0, 3000)"))
		}
		_, _ = b.evalNow("new Promise((go) => setTimeout(go, 20))")
	}
}

// The page in a real browser: the script runs under the policy, rows are shaded
// by age, the path is linked, the commands are named; no file name runs; it
// sorts, it filters, and a change appears by itself and leaves other rows as they
// are. Keys do all of it.
func TestPageInBrowser(t *testing.T) {
	hostile := []string{
		"<img src=x onerror=document.title='pwned'>", "\"><script>document.title='pwned'<", "javascript:document.title='pwned'",
		"' onmouseover='document.title=1", "&lt;b&gt;", "--><svg onload=document.title='pwned'>", "$'\\u003cscript", "\u202etxt.exe",
	}
	files := map[string]string{"d'\"<x>/old.txt": "1", "d'\"<x>/ten10": "22", "d'\"<x>/ten9": "", "d'\"<x>/sub/x": ""}
	for _, name := range hostile {
		files["d'\"<x>/"+name] = "1"
	}
	s := publishWatched(t, serve.Config{Stats: &serve.Stats{}}, files)
	now := time.Now()
	recent := now.Add(-10 * time.Second) // not the second in which a file will be written
	require.NoError(t, os.Chtimes(s.path("d'\"<x>/ten9"), recent, recent))
	ahead := now.AddDate(1, 0, 0)
	require.NoError(t, os.Chtimes(s.path("d'\"<x>/ten10"), ahead, ahead))
	url := s.url + "/d%27%22%3Cx%3E/"
	b := browse(t, url, 1000, 700)
	require.Equal(t, `/d'"<x>`, b.eval("document.title"))
	require.Equal(t, 1.0, b.eval(`document.scripts.length`))
	require.Equal(t, 0.0, b.eval(`document.querySelectorAll("img,svg,x,[onmouseover],[onerror],[onload]").length`))
	require.Equal(t, 13.0, b.eval(`document.querySelectorAll("tbody tr").length`))
	row := func(name string) string {
		return fmt.Sprintf("[...document.querySelectorAll('tbody tr')].find((r) => r.cells[0].textContent === %q)", name)
	}
	require.Equal(t, "0", b.eval(row("ten9")+".dataset.age"))
	require.Nil(t, b.eval(row("old.txt")+".dataset.age"))
	require.Nil(t, b.eval(row("ten10")+".dataset.age"), "a date to come tells nothing of when it changed")
	require.Equal(t, "curl -s '"+url+"?txt'", b.eval(`document.querySelectorAll("pre")[0].textContent`))
	require.Equal(t, "wget -m -np -nH '"+url+"'", b.eval(`document.querySelectorAll("pre")[1].textContent`))
	require.Equal(t, s.url+"/", b.eval(`document.querySelector("h1 a").href`))

	order := `[...document.querySelectorAll("tbody tr:not(.up) td.n")].map((c) => c.textContent).filter((n) => /^(ten|old|sub)/.test(n)).join(" ")`
	for _, step := range [][2]string{{"0", "sub/ old.txt ten9 ten10"}, {"0", "ten10 ten9 old.txt sub/"}, {"2", "ten10 old.txt ten9 sub/"}, {"1", "ten10 ten9 "}} {
		b.eval(`document.querySelectorAll("th button")[` + step[0] + `].click()`)
		require.Contains(t, b.eval(order), step[1])
	}
	b.eval(`dispatchEvent(new KeyboardEvent("keydown", {key: "/"}))`)
	require.Equal(t, "INPUT", b.eval("document.activeElement.tagName"))
	b.eval(`(() => { const i = document.activeElement; i.value = "TEN"; i.dispatchEvent(new Event("input")); })()`)
	require.Equal(t, 2.0, b.eval(`[...document.querySelectorAll("tbody tr:not(.up)")].filter((r) => !r.hidden).length`))

	require.Eventually(t, func() bool { return s.cfg.Stats.Waiting.Load() == 1 }, 10*time.Second, 10*time.Millisecond)
	b.eval(row("old.txt") + ".kept = true")
	s.change("d'\"<x>/often.txt", "new")
	b.until("!!" + row("often.txt"))
	require.Equal(t, true, b.eval(row("often.txt")+".classList.contains('new') && !"+row("often.txt")+".hidden"))
	require.Equal(t, true, b.eval(row("old.txt")+".kept"), "the same row as before")
	require.Equal(t, "watched", b.eval(`document.querySelector("#state").textContent`))
	press := func(key string) {
		b.eval(fmt.Sprintf("document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: %q, bubbles: true}))", key))
	}
	for _, step := range [][2]string{{"ArrowDown", "../"}, {"ArrowDown", "ten10"}, {"ArrowDown", "often.txt"}, {"ArrowUp", "ten10"}, {"ArrowUp", "../"}, {"ArrowUp", ""}} {
		press(step[0]) // rows that the filter hides are passed over
		require.Equal(t, step[1], b.eval("document.activeElement.textContent"))
	}
	require.Equal(t, `/d'"<x>`, b.eval("document.title"), "no name became a script")
	b.eval(`(() => { const i = document.querySelector("input"); i.focus(); i.value = "sub"; i.dispatchEvent(new Event("input")); })()`)
	press("Enter")
	b.until(`location.pathname.endsWith("/sub/") && !!document.querySelector("#state")`)
	press("u")
	b.until(`!location.pathname.endsWith("/sub/")`)
}

// Ten thousand rows, a narrow screen, dark: it draws, and nothing is wider than
// the screen. PAGE_SHOTS names a directory to keep the pictures in.
func TestPageIsDrawn(t *testing.T) {
	s := publishWatched(t, serve.Config{Root: inMemory(t)}, nil)
	for i := range 10_000 {
		require.NoError(t, os.WriteFile(s.path(fmt.Sprintf("file-%05d-%s.dat", i, strings.Repeat("x", i%140))), nil, 0o644))
	}
	for name, width := range map[string]int{"light": 1000, "dark": 1000, "narrow": 390} {
		b := browse(t, s.url+"/", width, 700)
		if name == "dark" {
			b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": "dark"}}})
		}
		require.Equal(t, 10_000.0, b.eval(`document.querySelectorAll("tbody tr").length`))
		require.LessOrEqual(t, b.eval("document.documentElement.scrollWidth"), float64(width), name)
		require.Positive(t, b.eval(`Math.min(...[...document.querySelectorAll("th button")].map((b) => b.offsetHeight))`), "it can be sorted: "+name)
		b.eval(`document.querySelectorAll("th button")[0].click(), document.querySelectorAll("th button")[0].click()`)
		require.Contains(t, b.eval(`document.querySelector("tbody tr").textContent`), "file-09999", name)
		shot := b.call("Page.captureScreenshot", nil)["data"].(string)
		picture, err := base64.StdEncoding.DecodeString(shot)
		require.NoError(t, err)
		require.Greater(t, len(picture), 20_000)
		if dir := os.Getenv("PAGE_SHOTS"); dir != "" {
			require.NoError(t, os.WriteFile(dir+"/"+name+".png", picture, 0o644))
		}
	}
}
