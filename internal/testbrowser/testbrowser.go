// Package testbrowser shows pages in headless Chromium, for tests.
//
//	page := testbrowser.Open(t, url, 1280, 844, `!!document.querySelector("h1")`)
//	require.Equal(t, "Tidemark", page.Eval("document.title"))
package testbrowser

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Page is a page in headless Chromium, which gets its commands by the DevTools
// protocol over a pipe: JSON messages that end in NUL.
type Page struct {
	testing.TB
	in      io.Writer
	out     *bufio.Reader
	id      int
	session string
}

// Open opens the page at url in a window of so many pixels, and waits until it is loaded and the condition
// ready holds there, an expression of JavaScript. At the end of the test the browser is closed.
func Open(t testing.TB, url string, width, height int, ready string) *Page {
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
	b := &Page{TB: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		b.Call("Browser.close", nil)
		_ = cmd.Wait()
	})
	require.NoError(t, out.SetReadDeadline(time.Now().Add(3*time.Minute)))
	target := b.Call("Target.createTarget", map[string]any{"url": "about:blank"})
	attached := b.Call("Target.attachToTarget", map[string]any{"targetId": target["targetId"], "flatten": true})
	b.session = attached["sessionId"].(string)
	b.Call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false})
	b.Call("Page.navigate", map[string]any{"url": url})
	b.Until(`document.readyState === "complete" && ` + ready)
	return b
}

// Hover puts the pointer on an element.
func (b *Page) Hover(element string) {
	b.Helper()
	at := b.Eval(`(() => { const r = ` + element + `.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`).([]any)
	b.Call("Input.dispatchMouseEvent", map[string]any{"type": "mouseMoved", "x": at[0], "y": at[1]})
}

// Enter types a text where the focus is, and Enter.
func (b *Page) Enter(text string) {
	b.Helper()
	b.Call("Input.insertText", map[string]any{"text": text})
	for _, kind := range []string{"keyDown", "keyUp"} {
		b.Call("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"})
	}
}

// Call sends one command and returns its result.
func (b *Page) Call(method string, params map[string]any) map[string]any {
	b.Helper()
	result, failure := b.try(method, params)
	require.Nil(b, failure, method)
	return result
}

// try sends one command and returns its result or why there is none.
func (b *Page) try(method string, params map[string]any) (result map[string]any, failure any) {
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

// Eval returns the value of an expression in the page.
func (b *Page) Eval(expression string) any {
	b.Helper()
	value, failure := b.evalNow(expression)
	require.Nil(b, failure, expression)
	return value
}

func (b *Page) evalNow(expression string) (value, failure any) {
	b.Helper()
	result, failure := b.try("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true})
	if failure != nil {
		return nil, failure
	}
	require.NotContains(b, result, "exceptionDetails", expression)
	return result["result"].(map[string]any)["value"], nil
}

// Until waits for a condition. Where the page goes to another meanwhile, nothing
// can be asked for a moment.
func (b *Page) Until(condition string) {
	b.Helper()
	end := time.Now().Add(30 * time.Second)
	again := time.NewTicker(20 * time.Millisecond) // the page has no timers where scripts are off
	defer again.Stop()
	for {
		if value, _ := b.evalNow(condition); value == true {
			return
		}
		if time.Now().After(end) {
			require.Fail(b, condition, "%v", b.Eval("document.body?.outerHTML.slice(0, 3000)"))
		}
		<-again.C
	}
}

// Dark makes the page one for people who want dark colours.
func (b *Page) Dark() {
	b.Helper()
	b.Call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": "dark"}}})
}

// Picture returns what the window shows, as PNG. PAGE_SHOTS names a directory to keep it in, as name.png.
func (b *Page) Picture(name string) []byte {
	b.Helper()
	picture, err := base64.StdEncoding.DecodeString(b.Call("Page.captureScreenshot", nil)["data"].(string))
	require.NoError(b, err)
	if dir := os.Getenv("PAGE_SHOTS"); dir != "" {
		require.NoError(b, os.WriteFile(dir+"/"+name+".png", picture, 0o644))
	}
	return picture
}
