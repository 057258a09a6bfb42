package report

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// element is one of a plot, with the text in it.
type element struct {
	name, text string
	attributes map[string]string
	own        bool // in the group of tidemark
}

func (e element) at(t *testing.T, name string) float64 {
	v, err := strconv.ParseFloat(e.attributes[name], 64)
	require.NoError(t, err, "%s of %v", name, e)
	return v
}

// elements parses a plot, which must be XML.
func elements(t *testing.T, svg string) (all []element) {
	decoder := xml.NewDecoder(strings.NewReader(svg))
	var open []int
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			require.Empty(t, open)
			return all
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local, attributes: map[string]string{}}
			for _, a := range token.Attr {
				e.attributes[a.Name.Local] = a.Value
			}
			if len(open) > 0 {
				e.own = all[open[len(open)-1]].own || all[open[len(open)-1]].attributes["class"] == "own"
			}
			open, all = append(open, len(all)), append(all, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				all[open[len(open)-1]].text += string(token)
			}
		}
	}
}

func pick(all []element, name, class string) (some []element) {
	for _, e := range all {
		if e.name == name && (class == "" || e.attributes["class"] == class) {
			some = append(some, e)
		}
	}
	return some
}

func texts(all []element) (some []string) {
	for _, e := range pick(all, "text", "") {
		some = append(some, e.text)
	}
	return some
}

func TestPlotSaysAllInText(t *testing.T) {
	all := elements(t, Plot(example().Questions[0], "on <that> machine"))
	said := texts(all)
	for _, want := range []string{"First copy of a tree", "10,000 files & <more>", "tidemark", "1.10 s", "tar | tar", "0.500 s · tidemark 0.455 × as fast",
		"syncthing", "60.5 s · tidemark 55.0 × as fast", "unison", "not measured", "0.1", "1", "10", "100", "on <that> machine"} {
		require.Contains(t, said, want)
	}
	require.Equal(t, "First copy of a tree", pick(all, "title", "")[0].text)
	require.Equal(t, "Medians. 10,000 files & <more>: tar | tar 0.500 s, tidemark 1.10 s, syncthing 60.5 s, unison was not measured.", pick(all, "desc", "")[0].text)
	require.Equal(t, "img", all[0].attributes["role"])
}

// Medians stand in the order of their values, those of tidemark in its colour; and each sample is a dot.
func TestPlotPutsValuesInOrder(t *testing.T) {
	all := elements(t, Plot(example().Questions[0], ""))
	dots := pick(all, "circle", "dot")
	require.Len(t, dots, 3)
	require.True(t, slices.IsSortedFunc(dots, func(a, b element) int { return int(a.at(t, "cx") - b.at(t, "cx")) }))
	require.True(t, slices.IsSortedFunc(dots, func(a, b element) int { return int(a.at(t, "cy") - b.at(t, "cy")) }))
	require.Equal(t, []bool{false, true, false}, []bool{dots[0].own, dots[1].own, dots[2].own})
	require.Len(t, pick(all, "circle", "sample"), 8)
	ticks := pick(all, "line", "grid")
	require.Len(t, ticks, 4)
	require.InDelta(t, ticks[1].at(t, "x1")+(ticks[2].at(t, "x1")-ticks[1].at(t, "x1"))*0.0414, dots[1].at(t, "cx"), 0.2, "log10 of 1.1")
}

func TestPlotFitsIntoItsPage(t *testing.T) {
	q := example().Questions[0]
	q.Cases = append(q.Cases, q.Cases[0], q.Cases[0])
	all := elements(t, Plot(q, "foot"))
	wide, high := all[0].at(t, "width"), all[0].at(t, "height")
	require.Equal(t, "0 0 "+all[0].attributes["width"]+" "+all[0].attributes["height"], all[0].attributes["viewBox"])
	for _, e := range all[1:] {
		for name, most := range map[string]float64{"x": wide, "x1": wide, "x2": wide, "cx": wide, "y": high, "y1": high, "y2": high, "cy": high} {
			if e.attributes[name] != "" {
				require.Positive(t, e.at(t, name), "%v", e)
				require.Less(t, e.at(t, name), most, "%v", e)
			}
		}
	}
	for _, e := range pick(all, "text", "") {
		length := 7.2 * float64(len([]rune(e.text))) // of a letter, on an average
		switch x := e.at(t, "x"); e.attributes["text-anchor"] {
		case "start":
			require.Less(t, x+length, wide, e.text)
		case "end":
			require.Positive(t, x-length, e.text)
		}
	}
}

// The reader's choice of light or dark is kept, nothing is loaded and nothing runs.
func TestPlotStandsAlone(t *testing.T) {
	svg := Plot(example().Questions[0], "")
	require.Contains(t, svg, "@media (prefers-color-scheme:dark)")
	for _, never := range []string{"<script", "href", "url(", "@import", "<image", "foreignObject"} {
		require.NotContains(t, strings.ReplaceAll(svg, "http://www.w3.org/2000/svg", ""), never)
	}
	for _, e := range elements(t, svg) {
		for name := range e.attributes {
			require.False(t, strings.HasPrefix(name, "on"), "%s of %s", name, e.name)
		}
	}
	_, dark, _ := strings.Cut(style, "@media")
	light, _, _ := strings.Cut(style, "@media")
	for _, class := range []string{".page", "text", ".note", ".grid", ".range", ".sample", ".own .range", ".own .sample", ".own text"} {
		require.Contains(t, light, "\n"+class)
		require.Contains(t, dark, "\n"+class)
	}
}

func TestThin(t *testing.T) {
	many := make([]float64, 1000)
	for i := range many {
		many[i] = float64(999 - i)
	}
	few := thin(many, 60)
	require.Len(t, few, 60)
	require.Equal(t, []float64{0, 999}, []float64{few[0], few[59]})
	require.True(t, slices.IsSorted(few))
	require.Equal(t, []float64{1, 2}, thin([]float64{2, 1}, 60))
}
