// Man makes man pages of docs/man: from Markdown, with the options that a program tells by --help in the place of
// <!-- OPTIONS -->, and the exit codes of docs/cli.md in that of <!-- EXIT -->.
//
//	man -cli docs/cli.md -help HELP PAGE.md >PAGE
//
// HELP is the file that --help was written to; pages without options need none.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
)

func main() {
	help := flag.String("help", "", "`FILE` with what --help prints")
	cli := flag.String("cli", "", "docs/cli.md: `FILE`")
	flag.Parse()
	page, err := build(flag.Arg(0), *help, *cli)
	if err == nil {
		_, err = os.Stdout.Write(page)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

// build returns the page whose Markdown is in file, as roff.
func build(file, helpFile, cliFile string) ([]byte, error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	text := string(source)
	for marker, fill := range map[string]func() (string, error){
		"<!-- OPTIONS -->": func() (string, error) { return optionsIn(helpFile) },
		"<!-- EXIT -->":    func() (string, error) { return exitCodesIn(cliFile) },
	} {
		if !strings.Contains(text, marker) {
			continue
		}
		with, err := fill()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		text = strings.Replace(text, marker, with, 1)
	}
	return tidy(md2man.Render([]byte(text))), nil
}

// tidy takes out what mandoc warns of: no hyphenation before the title, and paragraphs without text. It indents
// examples.
func tidy(page []byte) []byte {
	text := strings.TrimPrefix(string(page), ".nh\n")
	text = regexp.MustCompile(`(?m)^\.PP\n(\.(SH|PP|EX|RS|TP)\b)`).ReplaceAllString(text, "$1")
	text = strings.NewReplacer("\n.EX\n", "\n.RS 4\n.EX\n", "\n.EE\n", "\n.EE\n.RE\n").Replace(text)
	return []byte(strings.TrimLeft(text, "\n"))
}

// An option is a line of --help.
type option struct{ short, long, value, text, otherwise string }

// optionLine is how pflag prints an option.
var optionLine = regexp.MustCompile(`^ +(?:-(\w), )?--([a-z][a-z-]*)(?: (\S+))? {2,}(.*?)(?: \(default ("?)(.*?)"?\))?$`)

// parseOptions returns the options that --help tells.
func parseOptions(help string) (options []option, err error) {
	_, list, ok := strings.Cut(help, "\nOptions (")
	if !ok {
		return nil, errors.New("--help has no options")
	}
	for line := range strings.Lines(list) {
		line = strings.TrimRight(line, "\n")
		if !strings.HasPrefix(line, " ") {
			continue // the rest of the heading
		}
		m := optionLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("this line of --help is no option: %q", line)
		}
		options = append(options, option{short: m[1], long: m[2], value: m[3], text: m[4], otherwise: m[6]})
	}
	return options, nil
}

// optionsIn returns a list of the options that the file has.
func optionsIn(helpFile string) (string, error) {
	help, err := os.ReadFile(helpFile)
	if err != nil {
		return "", err
	}
	options, err := parseOptions(string(help))
	if err != nil {
		return "", err
	}
	var list strings.Builder
	for _, o := range options {
		list.WriteString(o.markdown())
	}
	return list.String(), nil
}

// markdown returns the option as a member of a list of definitions.
func (o *option) markdown() string {
	term := "**--" + o.long + "**"
	if o.short != "" {
		term = "**-" + o.short + "**, " + term
	}
	switch o.value {
	case "":
	case "int": // as pflag calls it
		term += " *N*"
	default:
		term += " *" + escape(o.value) + "*"
	}
	text := escape(strings.ToUpper(o.text[:1]) + o.text[1:])
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	if o.otherwise != "" && o.otherwise != "0s" {
		text += " Default: " + escape(o.otherwise) + "."
	}
	return term + "\n:   " + text + "\n\n"
}

// escape returns text in which Markdown finds nothing.
func escape(text string) string {
	return regexp.MustCompile("[\\\\`*_{}\\[\\]<>#|~]").ReplaceAllString(text, `\$0`)
}

// exitCodesIn returns the table of exit codes of docs/cli.md as a list of definitions.
func exitCodesIn(cliFile string) (string, error) {
	text, err := os.ReadFile(cliFile)
	if err != nil {
		return "", err
	}
	_, section, ok := strings.Cut(string(text), "\n## Exit codes\n")
	rows := regexp.MustCompile(`(?m)^\| (\d[\d, ]*) \| (.*) \|$`).FindAllStringSubmatch(section, -1)
	if !ok || len(rows) == 0 {
		return "", fmt.Errorf("%s has no table of exit codes", cliFile)
	}
	var list strings.Builder
	list.WriteString("Where several causes meet, the highest counts.\n\n")
	for _, row := range rows {
		text := strings.ReplaceAll(row[2], "`", "**")
		fmt.Fprintf(&list, "**%s**\n:   %s.\n\n", row[1], strings.ToUpper(text[:1])+text[1:])
	}
	return list.String(), nil
}
