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

// hover puts the pointer on an element.
func (b *browser) hover(element string) {
	b.Helper()
	at := b.eval(`(() => { const r = ` + element + `.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`).([]any)
	b.call("Input.dispatchMouseEvent", map[string]any{"type": "mouseMoved", "x": at[0], "y": at[1]})
}

// enter types a text where the focus is, and Enter.
func (b *browser) enter(text string) {
	b.Helper()
	b.call("Input.insertText", map[string]any{"text": text})
	for _, kind := range []string{"keyDown", "keyUp"} {
		b.call("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"})
	}
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
	again := time.NewTicker(20 * time.Millisecond) // the page has no timers where scripts are off
	defer again.Stop()
	for {
		if value, _ := b.evalNow(condition); value == true {
			return
		}
		if time.Now().After(end) {
			require.Fail(b, condition, "%v", b.eval("document.body?.outerHTML.slice(0, 3000)"))
		}
		<-again.C
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
	require.Equal(t, "tidemark-mirror '"+url+"' COPY", b.eval(`document.querySelectorAll("pre")[2].textContent`))
	require.Equal(t, s.url+"/", b.eval(`document.querySelector("h1 a").href`))

	// Sizes and ages for people, the exact ones where the pointer or the focus is.
	shown := func(name, cell string) any {
		return b.eval("getComputedStyle(" + row(name) + ".querySelector('" + cell + "')).opacity")
	}
	require.Equal(t, []any{"0", "1"}, []any{shown("old.txt", "td.s"), shown("old.txt", "td.t")})
	require.Regexp(t, `^\d\d s ago$`, b.eval(row("ten9")+`.querySelector("td.m").dataset.ago`))
	require.Nil(t, b.eval(row("ten10")+`.querySelector("td.m").dataset.ago`), "dated ahead")
	require.Equal(t, "0px", b.eval(`getComputedStyle(`+row("ten9")+`.querySelector("td.m")).fontSize`))
	b.hover(row("ten9") + `.querySelector("td.m")`)
	require.Equal(t, []any{"1", "0"}, []any{shown("ten9", "td.s"), shown("ten9", "td.t")})
	require.NotEqual(t, "0px", b.eval(`getComputedStyle(`+row("ten9")+`.querySelector("td.m")).fontSize`))
	b.eval(row("old.txt") + `.querySelector("a").focus()`)
	require.Equal(t, []any{"1", "0"}, []any{shown("old.txt", "td.s"), shown("old.txt", "td.t")})

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
	b.until(`!location.pathname.endsWith("/sub/") && !!document.querySelector("#state")`)

	// A search below, by keys, and back.
	b.eval(`document.querySelector("input[name=find]").focus()`)
	b.enter("/**/*")
	b.until(`location.search.startsWith("?find=") && !!document.querySelector("#state")`)
	require.Equal(t, "/**/*", b.eval(`document.querySelector("input[name=find]").value`))
	require.Contains(t, b.eval(`document.querySelector("tbody").textContent`), "sub/x")
	require.Equal(t, 0.0, b.eval(`document.querySelectorAll("img,svg,[onmouseover],[onerror],[onload]").length`))
	require.Contains(t, b.eval("document.title"), `/**/* in /d'"<x>`)
	press("u")
	b.until(`location.search === "" && location.pathname.endsWith("/d%27%22%3Cx%3E/") && !!document.querySelector("#state")`)
}

// Names that differ in their blanks only looked the same.
func TestBlanksInNamesAreSeen(t *testing.T) {
	s := publishWatched(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"d  e/a b": "1", "d  e/a  b": "2", "d  e/ c": "3"})
	b := browse(t, s.url+"/d%20%20e/", 1280, 800)
	require.Equal(t, []any{" c", "a  b", "a b"}, b.eval(`[...document.querySelectorAll("tr:not(.up) td.n a")].map((a) => a.innerText)`))
	require.Contains(t, b.eval(`document.querySelector("h1").innerText`), "d  e")
}

// Without scripts everything can be read, found and followed: the script adds comfort only.
func TestPageWithoutScripts(t *testing.T) {
	s := publishWatched(t, serve.Config{Tar: true, Stats: &serve.Stats{}}, map[string]string{
		"d/f.png": "x", "d/big": strings.Repeat("x", 3000), "d/sub/deep.txt": "1", "d/README": "read me",
	})
	b := browse(t, s.url+"/d/", 1280, 800)
	b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true})
	load := func(target, ready string) {
		b.call("Page.navigate", map[string]any{"url": s.url + target})
		b.until(`document.readyState === "complete" && ` + ready)
	}
	load("/d/?html", `!document.querySelector("#state")`)
	text := b.eval("document.body.textContent").(string)
	for _, want := range []string{"sub/", "f.png", "2.9 KiB", "2024-Feb-03 04:05:06", "read me", "tidemark-mirror URL COPY", "Newest changes", "Show pictures", "All as tar", "Find below"} {
		require.Contains(t, text, want)
	}
	require.Equal(t, "1", b.eval(`getComputedStyle(document.querySelector("tbody tr:last-child td.t")).opacity`))
	b.eval(`document.querySelector("input[name=find]").focus()`)
	b.enter("deep")
	b.until(`location.search.startsWith("?find=deep")`)
	b.until(`document.body.textContent.includes("sub/deep.txt")`)
	load("/d/?html", `!!document.querySelector("button[name=preview]")`)
	b.eval(`document.querySelector("button[name=preview]").click()`)
	b.until(`location.search === "?preview=1" && document.images.length === 1`)
	load("/d/nothing", `document.body.innerText.includes("404")`)
	b.eval(`[...document.querySelectorAll("nav a")].at(-1).click()`)
	b.until(`location.pathname === "/d/"`)
	load("/?status", `document.body.innerText.includes("watched")`)
	require.LessOrEqual(t, b.eval("document.documentElement.scrollWidth"), 1280.0)
}

// Ten thousand rows, a narrow screen, dark: it draws, and nothing is wider than
// the screen. PAGE_SHOTS names a directory to keep the pictures in.
func TestPageIsDrawn(t *testing.T) {
	s := publishWatched(t, serve.Config{Root: inMemory(t)}, nil)
	for i := range 10_000 {
		require.NoError(t, os.WriteFile(s.path(fmt.Sprintf("file-%05d-%s.dat", i, strings.Repeat("x", i%140))), nil, 0o644))
	}
	for name, width := range map[string]int{"light": 1280, "dark": 1280, "light-narrow": 390, "dark-narrow": 390} {
		b := browse(t, s.url+"/", width, 844)
		if strings.HasPrefix(name, "dark") {
			b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": "dark"}}})
			require.Equal(t, "rgb(20, 23, 27)", b.eval("getComputedStyle(document.body).backgroundColor"))
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
