package report

import (
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Plot draws a question as SVG: a line for each tool, its samples as faint dots, its median as a
// large one, on a logarithmic axis, because the tools differ by factors. All text is text; colours follow the
// reader's choice of light or dark. It has no script, and refers to nothing.
func Plot(q Question, foot string) string {
	p := plot{question: &q, scale: scaleOf(q)}
	p.layout()
	height := p.y + 50
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title desc">`+"\n",
		width, height, width, height)
	fmt.Fprintf(&b, "<title id=\"title\">%s</title>\n<desc id=\"desc\">%s</desc>\n", escape(q.Title), escape(describe(q)))
	b.WriteString(style)
	fmt.Fprintf(&b, `<rect class="page" width="%d" height="%d" rx="8"/>`+"\n", width, height)
	better := "less is better"
	if q.More {
		better = "more is better"
	}
	p.text(&b, 24, 34, "head", "start", q.Title)
	p.text(&b, 24, 56, "note", "start", q.Unit+", logarithmic; "+better+"; the large dot is the median, the small ones are samples")
	p.grid(&b)
	b.WriteString(p.body.String())
	p.text(&b, 24, height-16, "note", "start", foot)
	b.WriteString("</svg>\n")
	return b.String()
}

const (
	width   = 900
	left    = 210 // where the axis begins
	right   = 560 // where it ends; text stands behind it
	top     = 84
	rowStep = 26
)

const style = `<style>
.page{fill:#ffffff;stroke:#d5dae1}
text{font-family:system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;font-size:13px;fill:#1f2933}
.head{font-size:17px;font-weight:600}
.case{font-weight:600;paint-order:stroke;stroke:#ffffff;stroke-width:5px}
.note,.tick{font-size:12px;fill:#52606d}
.grid{stroke:#e4e7eb}
.range,.dot{stroke:#7b8794;fill:#7b8794}
.range{stroke-width:2;stroke-opacity:.45}
.sample{fill:#7b8794;fill-opacity:.4}
.own .range,.own .dot{stroke:#0b69c7;fill:#0b69c7}
.own .sample{fill:#0b69c7}
.own text{fill:#0b4f94;font-weight:600}
@media (prefers-color-scheme:dark){
.page{fill:#0f1720;stroke:#2b3744}
text{fill:#e6ebf0}
.case{stroke:#0f1720}
.note,.tick{fill:#a3b1bf}
.grid{stroke:#26313d}
.range,.dot{stroke:#94a3b3;fill:#94a3b3}
.sample{fill:#94a3b3}
.own .range,.own .dot{stroke:#58a6ff;fill:#58a6ff}
.own .sample{fill:#58a6ff}
.own text{fill:#8cc4ff}
}
</style>
`

// plot is a drawing in the making.
type plot struct {
	question *Question
	scale    scale
	y        int // where the next line goes
	body     strings.Builder
}

// scale maps values to places, by their logarithms.
type scale struct{ from, to float64 } // powers of ten

// scaleOf covers all samples of a question, from one power of ten to another.
func scaleOf(q Question) scale {
	s := scale{math.Inf(1), math.Inf(-1)}
	for _, c := range q.Cases {
		for _, r := range c.Rows {
			for _, v := range r.Samples {
				if v > 0 {
					s.from, s.to = min(s.from, math.Floor(math.Log10(v))), max(s.to, math.Ceil(math.Log10(v)))
				}
			}
		}
	}
	if s.from > s.to {
		return scale{0, 1}
	}
	if s.from == s.to {
		s.to++
	}
	return s
}

// at returns the place of a value; what is below the axis stands at its beginning.
func (s scale) at(v float64) float64 {
	share := 0.0
	if v > 0 {
		share = (math.Log10(v) - s.from) / (s.to - s.from)
	}
	return left + (right-left)*min(1, max(0, share))
}

// layout draws all cases, one below the other.
func (p *plot) layout() {
	p.y = top
	for _, c := range p.question.Cases {
		p.y += rowStep
		p.text(&p.body, 24, p.y, "case", "start", c.Name)
		for _, r := range c.sorted(p.question.More) {
			p.y += rowStep
			p.row(&r)
		}
		p.y += 8
	}
}

func (p *plot) row(r *Row) {
	b := &p.body
	class := "peer"
	if r.Tool == Own {
		class = "own"
	}
	fmt.Fprintf(b, `<g class="%s">`+"\n", class)
	p.text(b, left-14, p.y, "", "end", r.Tool)
	if r.Failed != "" || len(r.Samples) == 0 {
		p.text(b, left, p.y, "note", "start", "not measured")
		b.WriteString("</g>\n")
		return
	}
	middle := float64(p.y) - 4.5
	fmt.Fprintf(b, `<line class="range" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`+"\n", p.scale.at(r.Least), p.scale.at(r.Most), middle, middle)
	for _, v := range thin(r.Samples, 60) {
		fmt.Fprintf(b, `<circle class="sample" cx="%.1f" cy="%.1f" r="2.5"/>`+"\n", p.scale.at(v), middle)
	}
	fmt.Fprintf(b, `<circle class="dot" cx="%.1f" cy="%.1f" r="5"/>`+"\n", p.scale.at(r.Median), middle)
	said := Number(r.Median) + " " + p.question.Unit
	if than := p.question.Compared(r); than != "" {
		said += " · tidemark " + than
	}
	p.text(b, right+16, p.y, "", "start", said)
	b.WriteString("</g>\n")
}

// grid draws a line for each power of ten, and its number above.
func (p *plot) grid(b *strings.Builder) {
	for e := p.scale.from; e <= p.scale.to; e++ {
		v := math.Pow(10, e)
		x := p.scale.at(v)
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", x, x, top+6, p.y)
		label := fmt.Sprintf("%.*f", int(max(0, -e)), v)
		if e >= 0 {
			label = Thousands(int(v))
		}
		p.text(b, int(x), top, "tick", "middle", label)
	}
}

func (p *plot) text(b *strings.Builder, x, y int, class, anchor, text string) {
	if class != "" {
		class = fmt.Sprintf(` class="%s"`, class)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d"%s text-anchor="%s">%s</text>`+"\n", x, y, class, anchor, escape(text))
}

// thin returns n values at most, spread evenly over all of them, the least and the most among them.
func thin(values []float64, n int) []float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) <= n {
		return sorted
	}
	few := make([]float64, n)
	for i := range few {
		few[i] = sorted[i*(len(sorted)-1)/(n-1)]
	}
	return few
}

// describe says the medians in words, for who does not see the plot.
func describe(q Question) string {
	var cases []string
	for _, c := range q.Cases {
		var rows []string
		for _, r := range c.sorted(q.More) {
			if r.Failed != "" || len(r.Samples) == 0 {
				rows = append(rows, r.Tool+" was not measured")
			} else {
				rows = append(rows, fmt.Sprintf("%s %s %s", r.Tool, Number(r.Median), q.Unit))
			}
		}
		cases = append(cases, c.Name+": "+strings.Join(rows, ", "))
	}
	return "Medians. " + strings.Join(cases, "; ") + "."
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes all
	return b.String()
}
