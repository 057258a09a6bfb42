package autoindex

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// Pages as other servers write them; the servers themselves: make interop.
func TestPages(t *testing.T) {
	at := func(text string) mtree.Stamp {
		when, err := time.Parse("2006-01-02 15:04:05", text)
		require.NoError(t, err)
		return mtree.FromTime(when)
	}
	for name, tc := range map[string]struct {
		page   string
		time   mtree.Stamp
		bounds Bounds
	}{
		"apache fancy": {`<html><head><title>Index of /</title></head><body><h1>Index of /</h1>
<pre><img src="/icons/blank.gif" alt="Icon "> <a href="?C=N;O=D">Name</a> <a href="?C=M;O=A">Last modified</a> <a href="?C=S;O=A">Size</a><hr>
<img src="/icons/back.gif" alt="[PARENTDIR]"> <a href="/">Parent Directory</a>                             -
<img src="/icons/folder.gif" alt="[DIR]"> <a href="sub/">sub/</a>            2024-02-03 04:05    -
<img src="/icons/unknown.gif" alt="[   ]"> <a href="a%20f">a f</a>            2024-02-03 04:05  1.2K
<hr></pre></body></html>`, at("2024-02-03 04:05:00"), Bounds{Step: time.Minute, ServerZone: true, Low: 1126, High: 1331}},
		"apache table": {`<html><head><title>Index of /</title></head><body><table><tr><td valign="top"><img src="/i.gif"></td><td><a href="sub/">sub/</a></td><td align="right">2024-02-03 04:05  </td><td align="right">  - </td><td>&nbsp;</td></tr>
<tr><td valign="top"><img src="/i.gif"></td><td><a href="a%20f">a f</a></td><td align="right">2024-02-03 04:05  </td><td align="right"> 12 </td><td>&nbsp;</td></tr></table></body></html>`, at("2024-02-03 04:05:00"), Bounds{Step: time.Minute, ServerZone: true, Low: 12, High: 12}},
		"apache simple": {`<html><head><title>Index of /</title></head><body><ul><li><a href="/"> Parent Directory</a></li><li><a href="sub/"> sub/</a></li><li><a href="a%20f"> a f</a></li></ul></body></html>`,
			mtree.Stamp{}, Bounds{High: -1}},
		"lighttpd": {`<html><head><title>Index of /</title></head><body><h2>Index of /</h2><table><tbody>
<tr class="d"><td class="n"><a href="../">..</a>/</td><td class="m">&nbsp;</td><td class="s">- &nbsp;</td><td class="t">Directory</td></tr>
<tr class="d"><td class="n"><a href="sub/">sub</a>/</td><td class="m">2024-Feb-03 04:05:06</td><td class="s">- &nbsp;</td><td class="t">Directory</td></tr>
<tr><td class="n"><a href="a%20f">a f</a></td><td class="m">2024-Feb-03 04:05:06</td><td class="s">0.1K</td><td class="t">text/plain</td></tr>
</tbody></table></body></html>`, at("2024-02-03 04:05:06"), Bounds{Step: time.Second, ServerZone: true, Low: 0, High: 204}},
		"fancyindex": {`<!DOCTYPE html><html><head><title>Index of /</title></head><body><h1>Index of /</h1><table><tbody>
<tr><td class="link"><a href="sub/" title="sub">sub/</a></td><td class="size">-</td><td class="date">2024-Feb-03 04:05</td></tr>
<tr><td class="link"><a href="a%20f" title="a f">a f</a></td><td class="size">12 B</td><td class="date">2024-Feb-03 04:05</td></tr>
</tbody></table></body></html>`, at("2024-02-03 04:05:00"), Bounds{Step: time.Minute, ServerZone: true, Low: 0, High: -1}},
		"darkhttpd": {`<!DOCTYPE html><html><head><title>/</title></head><body><h1>Index of /</h1><pre>
<a href="..">..</a>/
<a href="sub/">sub/</a>    2024-02-03 04:05
<a href="a%20f">a f</a>     2024-02-03 04:05         12
</pre></body></html>`, at("2024-02-03 04:05:00"), Bounds{Step: time.Minute, ServerZone: true, Low: 12, High: 12}},
	} {
		t.Run(name, func(t *testing.T) {
			entries, known, err := parseHTML([]byte(tc.page), "/")
			require.NoError(t, err)
			require.Len(t, entries, 2, "%v", entries)
			require.Equal(t, "sub", entries[0].Name)
			require.Equal(t, mtree.Dir, entries[0].Kind)
			require.Equal(t, "a f", entries[1].Name)
			require.Equal(t, mtree.File, entries[1].Kind)
			require.Equal(t, tc.time, entries[1].MTime)
			require.Equal(t, tc.bounds, known["a f"])
			for cut := range len(tc.page) {
				_, _, err := parseHTML([]byte(tc.page[:cut]), "/")
				require.ErrorIs(t, err, mtree.ErrListing, "cut at %d", cut)
			}
		})
	}
	_, known, err := parseJSON([]byte(`[{"name":"a","type":"file","mtime":"Sat, 03 Feb 2024 04:05:06 GMT","size":3},{"name":"d","type":"dir","mtime":1706933106,"size":1},
		{"name":"e/","is_dir":true,"mod_time":"2024-02-03T04:05:06.123456789Z","size":4096},{"name":"fifo","type":"other"}]`))
	require.NoError(t, err)
	require.Len(t, known, 3)
	require.Equal(t, Bounds{Step: time.Second, ServerZone: false, Low: 3, High: 3}, known["a"])
	_, known, err = parseXML([]byte(`<?xml version="1.0"?><list><directory mtime="2024-02-03T04:05:06Z">d</directory><file mtime="2024-02-03T04:05:06Z" size="3">a &amp; b</file><other mtime="2024-02-03T04:05:06Z">fifo</other></list>`))
	require.NoError(t, err)
	require.Equal(t, map[string]Bounds{"d": {Step: time.Second, ServerZone: false, Low: 0, High: -1}, "a & b": {Step: time.Second, ServerZone: false, Low: 3, High: 3}}, known)
	for _, bad := range []string{``, `<html></html>`, `<list>`, `<list><file>..</file></list>`, `<list><file size="-1">a</file></list>`, `<list><file mtime="soon">a</file></list>`, "<list><file>\xff</file></list>"} {
		_, _, err := parseXML([]byte(bad))
		require.ErrorIs(t, err, mtree.ErrListing, "%q", bad)
	}
	for _, bad := range []string{`[`, `[{"name":".."}]`, `[{"name":"a/b"}]`, `[{"name":"\ufffd"}]`, "[{\"name\":\"\xff\"}]", `[{"name":"a","size":-1}]`, `[{"name":"a","mtime":"soon"}]`, `[{"name":""}]`} {
		_, _, err := parseJSON([]byte(bad))
		require.ErrorIs(t, err, mtree.ErrListing, "%q", bad)
	}
}

// Times in the zone of the server are recognised, others are not.
func TestApproximateTimes(t *testing.T) {
	listed, exact := mtree.Unix(1_700_000_040, 0), mtree.Unix(1_700_000_075, 5e8)
	b := Bounds{Step: time.Minute, ServerZone: true, Low: 100, High: 200, listed: listed}
	require.True(t, b.Fits(exact, 150))
	require.False(t, b.Fits(exact, 201))
	b.listed = listed.Add(2 * time.Hour)
	require.True(t, b.Fits(exact, 150), "another zone")
	b.listed = listed.Add(time.Minute)
	require.False(t, b.Fits(exact, 150))
	b.listed = listed.Add(15 * time.Hour)
	require.False(t, b.Fits(exact, 150))
	b.ServerZone, b.listed = false, listed.Add(2*time.Hour)
	require.False(t, b.Fits(exact, 150))
}

// A file that was fetched as soon as it was changed may have been changed again
// within the time it is listed with: it is asked for once more. How old it was then, the
// server's clock says; ours may be ahead of it, or behind. If it is not known by how much, or if
// that is wrong, ours counts, too.
func TestYoungFilesAreFetchedAgain(t *testing.T) {
	const s, m = time.Second, time.Minute
	for _, c := range []struct {
		age   time.Duration // by our clock when it was fetched, and its own time
		skew  time.Duration // by how much our clock is said to be ahead
		again bool
	}{
		{age: 30 * s, again: true},
		{age: time.Hour},
		{age: 130 * s},
		{age: -30 * m}, // a date in the future
		{age: 130 * s, skew: 2 * m, again: true},
		{age: 182 * s, skew: 2 * m},
		{age: time.Hour, skew: 2 * m},
		{age: 2*time.Hour + 10*s, skew: 2 * time.Hour, again: true},
		{age: -30*m + 10*s, skew: -30 * m, again: true},
		{age: time.Hour, skew: -30 * m},
		{age: 30 * s, skew: 20 * m, again: true},
		{age: 30 * s, skew: -20 * m, again: true},
		{age: time.Hour, skew: math.MaxInt64},
		{age: time.Hour, skew: math.MinInt64},
	} {
		l := &mtree.Listing{Entries: []mtree.Entry{{Name: "f", Kind: mtree.File, MTime: mtree.Unix(600, 0), Size: 3}}}
		a := NewApprox("", l.Entries, map[string]Bounds{"f": {Step: time.Minute, Low: 3, High: 3}}, &Zones{}, c.skew, Questions{})
		have := []mtree.Entry{{Name: "f", Kind: mtree.File, MTime: mtree.Unix(610, 5), CTime: mtree.Unix(610, 5).Add(c.age), Size: 3}}
		a.Resolve(t.Context(), l, have, true)
		require.Equal(t, c.again, l.Entries[0].MTime != have[0].MTime, "%+v", c)
		require.False(t, a.IfModified("f"), "its time says nothing: it is fetched in any case")
	}
}

// A page with a tag that is too long to be read is not whole.
func TestEndlessTag(t *testing.T) {
	_, err := htmlRows([]byte("<a " + strings.Repeat("href=x ", maxTag) + ">"))
	require.Error(t, err)
}

// As many entries as a server lists at most, and drops the rest, are no listing.
func TestListingsThatMayBeCut(t *testing.T) {
	var text strings.Builder
	for i := range caddyMost {
		fmt.Fprintf(&text, `,{"name":"%05d","is_dir":false,"size":1,"mod_time":"2024-02-03T04:05:06Z"}`, i)
	}
	_, _, err := Parse([]byte("["+text.String()[1:]+"]"), "application/json", "/")
	require.ErrorIs(t, err, mtree.ErrListing)
	require.ErrorContains(t, err, "file_limit")
	_, _, err = Parse([]byte("["+text.String()[1:strings.LastIndex(text.String(), ",{")]+"]"), "application/json", "/")
	require.NoError(t, err)
	// A cache in front of Caddy gave its page for people to mirror: that was taken for whole.
	var rows strings.Builder
	for i := range caddyMost {
		fmt.Fprintf(&rows, "<tr><td><a href=\"./%05d\">x</a></td><td><time datetime=\" 2024-02-03T04:05:06Z\"></time></td></tr>\n", i)
	}
	page := `<html><body><a href="?sort=name&order=desc">Name</a>` + rows.String() + "</body></html>"
	_, _, err = Parse([]byte(page), "text/html; charset=utf-8", "/")
	require.ErrorContains(t, err, "file_limit")
	_, _, err = Parse([]byte(strings.ReplaceAll(page, "T04:05", " 04:05")), "text/html; charset=utf-8", "/")
	require.NoError(t, err, "not Caddy's")
	few, known, err := Parse([]byte(page[:strings.Index(page, "<tr>")]+`<tr><td><a href="./f">f</a></td><td><time datetime=" 2024-02-03T04:05:06Z"></time></td></tr></body></html>`), "text/html", "/")
	require.NoError(t, err)
	require.Equal(t, "2024-02-03T04:05:06Z", few[0].MTime.Time().UTC().Format(time.RFC3339))
	require.Equal(t, time.Second, known["f"].Step)
	for n, may := range map[int]bool{caddyMost - caddyHides: false, caddyMost - caddyHides + 1: true, caddyMost - 1: true, caddyMost: false, 1: false} {
		require.Equal(t, may, MayBeCut([]byte(text.String()), "application/json", n), n)
		require.False(t, MayBeCut([]byte(text.String()), "text/html", n))
		require.Equal(t, may, MayBeCut([]byte(page), "text/html", n), n)
		require.False(t, MayBeCut([]byte(`[{"name":"mod_time","type":"file","mtime":1}]`), "application/json", n), "of nginx")
	}
}

// The visible name of a file was read as its time and size: it then never changed in the copy.
func TestNamesThatLookLikeTimes(t *testing.T) {
	for _, row := range []string{
		`<a href="x">2024-01-02 03:04:05.jpg</a>   05-Mar-2025 10:11   13000`,                                                              // nginx
		`<tr><td><a href="x">backup 2024-01-02 03:00 1K</a></td><td align="right">2025-03-05 10:11  </td><td align="right"> 13K</td></tr>`, // Apache
		`<a href="x"><b>&lt;size&gt;5&lt;/size&gt; 2024-01-02 03:00</b></a>   05-Mar-2025 10:11   13000`,
	} {
		entries, known, err := Parse([]byte("<html><head><title>Index of /</title></head><body><pre>"+row+"</pre></body></html>"), "text/html", "/")
		require.NoError(t, err)
		require.Len(t, entries, 1)
		require.Equal(t, "2025-03-05 10:11", entries[0].MTime.Time().Format("2006-01-02 15:04"), row)
		require.Equal(t, time.Minute, known["x"].Step, row)
		require.Greater(t, known["x"].Low, int64(12_000), row)
	}
}

// Apache writes names with "./" before them and no escape of a colon: "./http:" was taken for a link to
// another host, so such a file was left out, and deleted from a copy that had it.
func TestNamesThatLookLikeSchemes(t *testing.T) {
	for _, name := range []string{"http:", "mailto:x", "javascript:1", "data:2024.csv", "a:b", "c:"} {
		got, _, ok, err := linkedName("./"+name, "/")
		require.NoError(t, err)
		require.True(t, ok, name)
		require.Equal(t, name, got)
	}
	for _, href := range []string{"http://host/f", "https:f", "mailto:x", "javascript:1", "../http:", "/http:"} {
		_, _, ok, err := linkedName(href, "/")
		require.NoError(t, err)
		require.False(t, ok, href)
	}
}
