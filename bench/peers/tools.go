package peers

import (
	"fmt"
	"os"
	"time"

	"tidemark/bench/rig"
)

// Tool makes a copy of a tree once, into a directory that is there.
type Tool struct {
	Name  string
	Needs []string // programs
	Again bool     // it may be run again, and finds out by itself that nothing has changed
	Copy  func(to string) (rig.Cost, error)
}

// Tools returns all of them for a source with its servers. Those that need a program that is missing are
// returned, too. work is for their files; stop ends what they started.
func Tools(s *Servers, work, source string) (tools []Tool, stop func()) {
	command := func(name string, again bool, needs []string, args func(to string) []string) Tool {
		return Tool{name, needs, again, func(to string) (rig.Cost, error) { return rig.Command(args(to)...) }}
	}
	sync := &syncthing{work: work, source: source, delay: "1"}
	return []Tool{
		command("tidemark", true, nil, func(to string) []string {
			return []string{"bin/mirror", "--once", "http://" + s.Serve + "/", to}
		}),
		command("rsync daemon", true, []string{"rsync"}, func(to string) []string {
			return []string{"rsync", "-a", "rsync://" + s.Rsync + "/tree/", to + "/"}
		}),
		command("tar | tar", false, []string{"tar"}, func(to string) []string {
			return []string{"sh", "-c", fmt.Sprintf("tar -C %s --exclude ./.tidemark -cf - . | tar -C %s -xf -", source, to)}
		}),
		command("cp -a", false, []string{"cp"}, func(to string) []string {
			return []string{"sh", "-c", fmt.Sprintf("cp -a %s/* %s/", source, to)}
		}),
		command("unison", true, []string{"unison"}, func(to string) []string { return unison(source, to, "-batch") }),
		command("lftp from nginx", true, []string{"lftp", "nginx"}, func(to string) []string {
			return []string{"lftp", "--norc", "-c", "set net:max-retries 2; open http://" + s.Nginx + "/; mirror --parallel=8 / " + to}
		}),
		command("wget from nginx", true, []string{"wget", "nginx"}, func(to string) []string {
			return []string{"wget", "--no-config", "-nv", "-e", "robots=off", "-m", "-nH", "-np", "-R", "index.html*", "-P", to, "http://" + s.Nginx + "/"}
		}),
		command("rclone from nginx", true, []string{"rclone", "nginx"}, func(to string) []string {
			return []string{"rclone", "copy", "--config", "/dev/null", "--http-url", "http://" + s.Nginx + "/", "--transfers", "16", "--checkers", "16", ":http:", to}
		}),
		{"lsyncd", []string{"lsyncd", "rsync"}, false, func(to string) (rig.Cost, error) { return lsyncdOnce(work, source, to) }},
		{"syncthing", []string{"syncthing"}, false, sync.copyOnce},
	}, sync.stop
}

// unison is a command that makes the second root equal to the first. Its archives stand beside the copy.
func unison(source, to string, how ...string) []string {
	return append([]string{"env", "UNISON=" + to + ".unison", "unison", source, to, "-ui", "text", "-auto", "-times", "-force", source,
		"-confirmbigdel=false", "-ignore", "Path .tidemark", "-log=false"}, how...)
}

// lsyncdOnce times lsyncd from its start until it says that its first rsync is done.
func lsyncdOnce(work, source, to string) (cost rig.Cost, err error) {
	began := time.Now()
	p, err := startLsyncd(work, source, to)
	defer p.Stop()
	if err != nil {
		return cost, err
	}
	return rig.Cost{Wall: time.Since(began), CPU: p[0].GroupCPU()}, nil
}

func startLsyncd(work, source, to string) (p Programs, err error) {
	config := fmt.Sprintf(`settings{nodaemon = true}
sync{default.rsync, source = %q, target = %q, delay = 1, exclude = {"/.tidemark"}, rsync = {archive = true, _extra = {"--modify-window=-1"}}}
`, source, to)
	file := work + "/lsyncd.lua"
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return p, err
	}
	_, err = p.start(work, "Startup of .* finished", "lsyncd", "-nodaemon", file)
	return p, err
}
