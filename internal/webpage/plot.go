package webpage

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
)

// Plot draws numbers over a time that ends now.
type Plot struct {
	Title  string               // what is drawn
	Values []float64            // one for each step, the oldest first; NaN: not known
	Step   time.Duration        // from one value to the next
	Unit   func(float64) string // a value for people
	Tops   []float64            // where the scale may end, ascending; beyond them, and if there are none, at 1, 2 or 5 times a power of ten
}

// SecondTops are the Tops for values in seconds.
var SecondTops = []float64{1, 2, 5, 10, 20, 60, 120, 300, 600, 1200, 3600, 7200, 6 * 3600, 12 * 3600, 86400, 2 * 86400}

// The size of a plot, and of the room around it for its labels, in SVG's units.
const (
	plotWidth, plotHeight         = 720, 190
	leftRoom, topRoom, bottomRoom = 96, 18, 30
)

// SVG returns the plot. It needs the style of a Page, and no script.
func (p *Plot) SVG() template.HTML {
	var out strings.Builder
	label := template.HTMLEscapeString(p.label())
	fmt.Fprintf(&out, `<svg class="plot" viewBox="0 0 %d %d" role="img" aria-label="%s"><title>%s</title>`, plotWidth, plotHeight, label, label)
	top := p.top()
	for _, share := range []float64{0, 0.5, 1} {
		y := p.y(share*top, top)
		fmt.Fprintf(&out, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="y" x="%d" y="%.1f">%s</text>`,
			leftRoom, plotWidth, y, y, leftRoom-8, y+4, template.HTMLEscapeString(p.Unit(share*top)))
	}
	p.times(&out)
	p.area(&out, top)
	out.WriteString("</svg>")
	return template.HTML(out.String())
}

// label says in words what the plot shows.
func (p *Plot) label() string {
	span := Span(time.Duration(len(p.Values)) * p.Step)
	known := 0
	for _, v := range p.Values {
		if !math.IsNaN(v) {
			known++
		}
	}
	if known == 0 {
		return p.Title + " of the last " + span + ": nothing is known yet"
	}
	return fmt.Sprintf("%s of the last %s: %s at most", p.Title, span, p.Unit(p.most()))
}

// most returns the highest value; 0: none is known.
func (p *Plot) most() (most float64) {
	for _, v := range p.Values {
		if v > most { // false for NaN
			most = v
		}
	}
	return most
}

// top returns where the scale ends.
func (p *Plot) top() float64 {
	most := p.most()
	for _, top := range p.Tops {
		if most <= top {
			return top
		}
	}
	return ceiling(most)
}

// ceiling returns a round number that is not below v: 1, 2 or 5 times a power of ten.
func ceiling(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, times := range []float64{1, 2, 5} {
		if v <= times*power {
			return times * power
		}
	}
	return 10 * power
}

// x returns where the beginning of step i is.
func (p *Plot) x(i int) float64 {
	return leftRoom + float64(i)*(plotWidth-leftRoom)/float64(max(1, len(p.Values)))
}

// y returns where v is, of a scale up to top.
func (p *Plot) y(v, top float64) float64 {
	return plotHeight - bottomRoom - v/top*(plotHeight-bottomRoom-topRoom)
}

// times writes the labels of the time.
func (p *Plot) times(out *strings.Builder) {
	n := len(p.Values)
	for part := range 4 {
		i := n * part / 4
		text := Span(time.Duration(n-i)*p.Step) + " ago"
		fmt.Fprintf(out, `<text x="%.1f" y="%d">%s</text>`, p.x(i), plotHeight-6, text)
	}
	fmt.Fprintf(out, `<text class="y" x="%d" y="%d">now</text>`, plotWidth, plotHeight-6)
}

// area writes the values, each as long as its step. Where none is known there is a gap.
func (p *Plot) area(out *strings.Builder, top float64) {
	for i := 0; i < len(p.Values); i++ {
		if math.IsNaN(p.Values[i]) {
			continue
		}
		begin := i
		path := "M" + number(p.x(begin)) + " " + number(p.y(0, top))
		for ; i < len(p.Values) && !math.IsNaN(p.Values[i]); i++ {
			path += "V" + number(p.y(p.Values[i], top)) + "H" + number(p.x(i+1))
		}
		fmt.Fprintf(out, `<path d="%sV%sZ"/>`, path, number(p.y(0, top)))
	}
}

// number returns a coordinate.
func number(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }
