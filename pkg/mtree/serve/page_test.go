//go:build interop

package serve_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testbrowser"
	"tidemark/pkg/mtree/serve"
)

// drawn holds on a page whose script has run.
const drawn = `!!document.querySelector("#state")`

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
	b := testbrowser.Open(t, url, 1000, 700, drawn)
	require.Equal(t, `/d'"<x>`, b.Eval("document.title"))
	require.Equal(t, 1.0, b.Eval(`document.scripts.length`))
	require.Equal(t, 0.0, b.Eval(`document.querySelectorAll("img,svg,x,[onmouseover],[onerror],[onload]").length`))
	require.Equal(t, 13.0, b.Eval(`document.querySelectorAll("tbody tr").length`))
	row := func(name string) string {
		return fmt.Sprintf("[...document.querySelectorAll('tbody tr')].find((r) => r.cells[0].textContent === %q)", name)
	}
	require.Equal(t, "0", b.Eval(row("ten9")+".dataset.age"))
	require.Nil(t, b.Eval(row("old.txt")+".dataset.age"))
	require.Nil(t, b.Eval(row("ten10")+".dataset.age"), "a date to come tells nothing of when it changed")
	require.Equal(t, "curl -s '"+url+"?txt'", b.Eval(`document.querySelectorAll("pre")[0].textContent`))
	require.Equal(t, "wget -m -np -nH '"+url+"'", b.Eval(`document.querySelectorAll("pre")[1].textContent`))
	require.Equal(t, "tidemark-mirror '"+url+"' COPY", b.Eval(`document.querySelectorAll("pre")[2].textContent`))
	require.Equal(t, s.url+"/", b.Eval(`document.querySelector("h1 a").href`))

	// Sizes and ages for people, the exact ones where the pointer or the focus is.
	shown := func(name, cell string) any {
		return b.Eval("getComputedStyle(" + row(name) + ".querySelector('" + cell + "')).opacity")
	}
	require.Equal(t, []any{"0", "1"}, []any{shown("old.txt", "td.s"), shown("old.txt", "td.t")})
	require.Regexp(t, `^\d\d s ago$`, b.Eval(row("ten9")+`.querySelector("td.m").dataset.ago`))
	require.Nil(t, b.Eval(row("ten10")+`.querySelector("td.m").dataset.ago`), "dated ahead")
	require.Equal(t, "0px", b.Eval(`getComputedStyle(`+row("ten9")+`.querySelector("td.m")).fontSize`))
	b.Hover(row("ten9") + `.querySelector("td.m")`)
	require.Equal(t, []any{"1", "0"}, []any{shown("ten9", "td.s"), shown("ten9", "td.t")})
	require.NotEqual(t, "0px", b.Eval(`getComputedStyle(`+row("ten9")+`.querySelector("td.m")).fontSize`))
	b.Eval(row("old.txt") + `.querySelector("a").focus()`)
	require.Equal(t, []any{"1", "0"}, []any{shown("old.txt", "td.s"), shown("old.txt", "td.t")})

	order := `[...document.querySelectorAll("tbody tr:not(.up) td.n")].map((c) => c.textContent).filter((n) => /^(ten|old|sub)/.test(n)).join(" ")`
	for _, step := range [][2]string{{"0", "sub/ old.txt ten9 ten10"}, {"0", "ten10 ten9 old.txt sub/"}, {"2", "ten10 old.txt ten9 sub/"}, {"1", "ten10 ten9 "}} {
		b.Eval(`document.querySelectorAll("th button")[` + step[0] + `].click()`)
		require.Contains(t, b.Eval(order), step[1])
	}
	b.Eval(`dispatchEvent(new KeyboardEvent("keydown", {key: "/"}))`)
	require.Equal(t, "INPUT", b.Eval("document.activeElement.tagName"))
	b.Eval(`(() => { const i = document.activeElement; i.value = "TEN"; i.dispatchEvent(new Event("input")); })()`)
	require.Equal(t, 2.0, b.Eval(`[...document.querySelectorAll("tbody tr:not(.up)")].filter((r) => !r.hidden).length`))

	require.Eventually(t, func() bool { return s.cfg.Stats.Waiting.Load() == 1 }, 10*time.Second, 10*time.Millisecond)
	b.Eval(row("old.txt") + ".kept = true")
	s.change("d'\"<x>/often.txt", "new")
	b.Until("!!" + row("often.txt"))
	require.Equal(t, true, b.Eval(row("often.txt")+".classList.contains('new') && !"+row("often.txt")+".hidden"))
	require.Equal(t, true, b.Eval(row("old.txt")+".kept"), "the same row as before")
	require.Equal(t, "watched", b.Eval(`document.querySelector("#state").textContent`))
	press := func(key string) {
		b.Eval(fmt.Sprintf("document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: %q, bubbles: true}))", key))
	}
	for _, step := range [][2]string{{"ArrowDown", "../"}, {"ArrowDown", "ten10"}, {"ArrowDown", "often.txt"}, {"ArrowUp", "ten10"}, {"ArrowUp", "../"}, {"ArrowUp", ""}} {
		press(step[0]) // rows that the filter hides are passed over
		require.Equal(t, step[1], b.Eval("document.activeElement.textContent"))
	}
	require.Equal(t, `/d'"<x>`, b.Eval("document.title"), "no name became a script")
	b.Eval(`(() => { const i = document.querySelector("input"); i.focus(); i.value = "sub"; i.dispatchEvent(new Event("input")); })()`)
	press("Enter")
	b.Until(`location.pathname.endsWith("/sub/") && !!document.querySelector("#state")`)
	press("u")
	b.Until(`!location.pathname.endsWith("/sub/") && !!document.querySelector("#state")`)

	// A search below, by keys, and back.
	b.Eval(`document.querySelector("input[name=find]").focus()`)
	b.Enter("/**/*")
	b.Until(`location.search.startsWith("?find=") && !!document.querySelector("#state")`)
	require.Equal(t, "/**/*", b.Eval(`document.querySelector("input[name=find]").value`))
	require.Contains(t, b.Eval(`document.querySelector("tbody").textContent`), "sub/x")
	require.Equal(t, 0.0, b.Eval(`document.querySelectorAll("img,svg,[onmouseover],[onerror],[onload]").length`))
	require.Contains(t, b.Eval("document.title"), `/**/* in /d'"<x>`)
	press("u")
	b.Until(`location.search === "" && location.pathname.endsWith("/d%27%22%3Cx%3E/") && !!document.querySelector("#state")`)
}

// Names that differ in their blanks only looked the same.
func TestBlanksInNamesAreSeen(t *testing.T) {
	s := publishWatched(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"d  e/a b": "1", "d  e/a  b": "2", "d  e/ c": "3"})
	b := testbrowser.Open(t, s.url+"/d%20%20e/", 1280, 800, drawn)
	require.Equal(t, []any{" c", "a  b", "a b"}, b.Eval(`[...document.querySelectorAll("tr:not(.up) td.n a")].map((a) => a.innerText)`))
	require.Contains(t, b.Eval(`document.querySelector("h1").innerText`), "d  e")
}

// Without scripts everything can be read, found and followed: the script adds comfort only.
func TestPageWithoutScripts(t *testing.T) {
	s := publishWatched(t, serve.Config{Tar: true, Stats: &serve.Stats{}}, map[string]string{
		"d/f.png": "x", "d/big": strings.Repeat("x", 3000), "d/sub/deep.txt": "1", "d/README": "read me",
	})
	b := testbrowser.Open(t, s.url+"/d/", 1280, 800, drawn)
	b.Call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true})
	load := func(target, ready string) {
		b.Call("Page.navigate", map[string]any{"url": s.url + target})
		b.Until(`document.readyState === "complete" && ` + ready)
	}
	load("/d/?html", `!document.querySelector("#state")`)
	text := b.Eval("document.body.textContent").(string)
	for _, want := range []string{"sub/", "f.png", "2.9 KiB", "2024-Feb-03 04:05:06", "read me", "tidemark-mirror URL COPY", "Newest changes", "Show pictures", "All as tar", "Find below"} {
		require.Contains(t, text, want)
	}
	require.Equal(t, "1", b.Eval(`getComputedStyle(document.querySelector("tbody tr:last-child td.t")).opacity`))
	b.Eval(`document.querySelector("input[name=find]").focus()`)
	b.Enter("deep")
	b.Until(`location.search.startsWith("?find=deep")`)
	b.Until(`document.body.textContent.includes("sub/deep.txt")`)
	load("/d/?html", `!!document.querySelector("button[name=preview]")`)
	b.Eval(`document.querySelector("button[name=preview]").click()`)
	b.Until(`location.search === "?preview=1" && document.images.length === 1`)
	load("/d/nothing", `document.body.innerText.includes("404")`)
	b.Eval(`[...document.querySelectorAll("nav a")].at(-1).click()`)
	b.Until(`location.pathname === "/d/"`)
	load("/?status", `document.body.innerText.includes("watched")`)
	require.LessOrEqual(t, b.Eval("document.documentElement.scrollWidth"), 1280.0)
}

// Ten thousand rows, a narrow screen, dark: it draws, and nothing is wider than
// the screen. PAGE_SHOTS names a directory to keep the pictures in.
func TestPageIsDrawn(t *testing.T) {
	s := publishWatched(t, serve.Config{Root: inMemory(t)}, nil)
	for i := range 10_000 {
		require.NoError(t, os.WriteFile(s.path(fmt.Sprintf("file-%05d-%s.dat", i, strings.Repeat("x", i%140))), nil, 0o644))
	}
	for name, width := range map[string]int{"light": 1280, "dark": 1280, "light-narrow": 390, "dark-narrow": 390} {
		b := testbrowser.Open(t, s.url+"/", width, 844, drawn)
		if strings.HasPrefix(name, "dark") {
			b.Dark()
			require.Equal(t, "rgb(20, 23, 27)", b.Eval("getComputedStyle(document.body).backgroundColor"))
		}
		require.Equal(t, 10_000.0, b.Eval(`document.querySelectorAll("tbody tr").length`))
		require.LessOrEqual(t, b.Eval("document.documentElement.scrollWidth"), float64(width), name)
		require.Positive(t, b.Eval(`Math.min(...[...document.querySelectorAll("th button")].map((b) => b.offsetHeight))`), "it can be sorted: "+name)
		b.Eval(`document.querySelectorAll("th button")[0].click(), document.querySelectorAll("th button")[0].click()`)
		require.Contains(t, b.Eval(`document.querySelector("tbody tr").textContent`), "file-09999", name)
		require.Greater(t, len(b.Picture(name)), 20_000)
	}
}
