//go:build interop

package mirror

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testbrowser"
)

// contrast is the least contrast of a text to what it stands on, by WCAG 2: below 4.5 it is hard to read.
const contrast = `(() => {
	const light = (c) => { const [r, g, b] = c.map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
	const parts = (c) => c.match(/[\d.]+/g).map(Number);
	const ground = (e) => { for (; e; e = e.parentElement) { const c = parts(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > .9) return c.slice(0, 3); } return [255, 255, 255]; };
	let worst = [99, ""];
	for (const e of document.querySelectorAll("body *")) {
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.closest("svg") || !e.offsetHeight) continue;
		const [a, b] = [light(parts(getComputedStyle(e).color).slice(0, 3)), light(ground(e))];
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		if (ratio < worst[0]) worst = [ratio, e.outerHTML.slice(0, 200)];
	}
	return worst;
})()`

// The page of mirror in a real browser, wide and narrow, light and dark, with long and hostile names that are held:
// nothing is wider than the screen, all can be read, nothing runs and nothing is loaded from elsewhere; by keys
// one gets to what can be followed.
func TestMirrorPageIsDrawn(t *testing.T) {
	var lines []string
	for i := range 150 {
		lines = append(lines, fmt.Sprintf(`"d/%03d-<img src=x onerror=document.title='pwned'>%s" = 1`, i, strings.Repeat("x", i)))
	}
	s, b := overHTTP(t, append(lines, "keep = 2")...)
	b.equal(s)
	b.config.MaxDelete = "0"
	s.remove("d")
	require.Error(t, b.once())
	now := time.Now()
	for ago := 3 * time.Hour; ago > 0; ago -= time.Minute {
		b.config.Stats.history.confirm(now.Add(-ago), now.Add(-ago+time.Duration(ago.Minutes())*time.Second/10))
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		require.NoError(t, WritePage(w, b.config, "1.2.3"))
	}))
	t.Cleanup(server.Close)
	for name, width := range map[string]int{"mirror-light": 1280, "mirror-dark": 1280, "mirror-light-narrow": 390, "mirror-dark-narrow": 390} {
		p := testbrowser.Open(t, server.URL, width, 844, `!!document.querySelector("svg")`)
		if strings.Contains(name, "dark") {
			p.Dark()
			require.Equal(t, "rgb(20, 23, 27)", p.Eval("getComputedStyle(document.body).backgroundColor"))
		}
		require.LessOrEqual(t, p.Eval("document.documentElement.scrollWidth"), float64(width), name)
		require.Equal(t, 2.0, p.Eval(`[...document.querySelectorAll("svg")].filter((s) => s.getBoundingClientRect().width > 200).length`), name)
		require.Equal(t, 0.0, p.Eval(`document.scripts.length + document.querySelectorAll("img,[onerror]").length`), name)
		require.Equal(t, 0.0, p.Eval(`performance.getEntriesByType("resource").filter((e) => !e.name.endsWith("/favicon.ico")).length`), name)
		require.NotEqual(t, "pwned", p.Eval("document.title"))
		least := p.Eval(contrast).([]any)
		require.GreaterOrEqual(t, least[0], 4.5, "%s: %s", name, least[1])
		require.Contains(t, p.Eval("document.body.innerText"), "--release")
		p.Call("Input.dispatchKeyEvent", map[string]any{"type": "keyDown", "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9})
		require.NotEqual(t, "none 0px", p.Eval(`(() => { const s = getComputedStyle(document.activeElement); return document.activeElement === document.body ? "none 0px" : s.outlineStyle + " " + s.outlineWidth; })()`), name)
		require.Greater(t, len(p.Picture(name)), 10_000)
	}
}
