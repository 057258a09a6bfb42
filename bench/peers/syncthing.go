package peers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"tidemark/bench/rig"
)

// syncthing is a pair of them on loopback: one has a tree, send only, the other a copy of it, receive only. They
// announce themselves to nobody.
type syncthing struct {
	work, source string
	delay        string // seconds for which changes are gathered

	sender, receiver device
	running          Programs // the sender
	count            int      // pairs so far
}

// device is one of the two.
type device struct {
	home, id, gui, listen string
}

const apiKey = "tidemark-bench"

// copyOnce times the receiver alone, from its start, with nothing known of the tree. The sender has read the
// tree before.
func (s *syncthing) copyOnce(to string) (cost rig.Cost, err error) {
	if s.running == nil {
		if err := s.startSender(to); err != nil {
			return cost, err
		}
	}
	if err := s.configure(s.receiver, to, "receiveonly", ".stfolder"); err != nil {
		return cost, err
	}
	began := time.Now()
	p, err := s.startReceiver(to)
	defer p.Stop()
	if err != nil {
		return cost, err
	}
	return rig.Cost{Wall: time.Since(began), CPU: p[0].GroupCPU()}, nil
}

// stop ends the sender.
func (s *syncthing) stop() { s.running.Stop() }

// startSender makes keys and configurations for both, and waits until the sender knows its tree.
func (s *syncthing) startSender(to string) (err error) {
	s.count++
	if s.sender, err = newDevice(filepath.Join(s.work, fmt.Sprintf("syncthing-%d-a", s.count))); err != nil {
		return err
	}
	if s.receiver, err = newDevice(filepath.Join(s.work, fmt.Sprintf("syncthing-%d-b", s.count))); err != nil {
		return err
	}
	marker, err := firstDirectory(s.source)
	if err != nil {
		return err
	}
	if err := s.configure(s.sender, s.source, "sendonly", marker); err != nil {
		return err
	}
	sender, err := s.running.start(s.work, "", s.sender.command()...)
	if err != nil {
		return err
	}
	return s.await(sender, func() bool {
		is := s.sender.status()
		return is.State == "idle" && is.LocalFiles > 0
	})
}

// startReceiver starts the other one, and waits until it has all that the sender has.
func (s *syncthing) startReceiver(to string) (p Programs, err error) {
	want := s.sender.status().LocalFiles
	receiver, err := p.start(s.work, "", s.receiver.command()...)
	if err != nil {
		return p, err
	}
	return p, s.await(receiver, func() bool {
		is := s.receiver.status()
		return is.State == "idle" && is.NeedTotalItems == 0 && is.LocalFiles >= want
	})
}

func (s *syncthing) await(p *rig.Program, ready func() bool) error {
	for deadline := time.Now().Add(rig.Patience); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		if ready() {
			return nil
		}
		if p.HasEnded() {
			return fmt.Errorf("syncthing ended:\n%s", p.Log())
		}
	}
	return fmt.Errorf("syncthing is not ready after %s:\n%s", rig.Patience, p.Log())
}

func newDevice(home string) (d device, err error) {
	d.home = home
	out, err := exec.Command("syncthing", "generate", "--skip-port-probing", "--home="+home).CombinedOutput()
	if err != nil {
		return d, fmt.Errorf("syncthing generate: %w: %s", err, out)
	}
	id, err := exec.Command("syncthing", "serve", "--device-id", "--home="+home).Output()
	if err != nil {
		return d, fmt.Errorf("syncthing --device-id: %w", err)
	}
	d.id = strings.TrimSpace(string(id))
	if d.gui, err = rig.FreeAddress(); err == nil {
		d.listen, err = rig.FreeAddress()
	}
	return d, err
}

func (d device) command() []string {
	return []string{"env", "HOME=" + d.home, "STNOUPGRADE=1", "syncthing", "serve", "--home=" + d.home, "--no-browser", "--no-restart"}
}

// configure writes a configuration and forgets what the device knew of the folder. The marker is what must be
// in a folder, or syncthing takes it for not mounted: in the source something that is there.
func (s *syncthing) configure(d device, folder, kind, marker string) error {
	databases, _ := filepath.Glob(d.home + "/index*")
	for _, database := range databases {
		if err := os.RemoveAll(database); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(folder, marker), 0o755); err != nil {
		return err
	}
	text := fmt.Sprintf(`<configuration version="35">
<folder id="tree" path="%s" type="%s" rescanIntervalS="3600" fsWatcherEnabled="true" fsWatcherDelayS="%s">
<device id="%s"/><device id="%s"/><markerName>%s</markerName>
</folder>
%s%s<gui enabled="true" tls="false"><address>%s</address><apikey>%s</apikey></gui>
<options>
<listenAddress>tcp://%s</listenAddress>
<globalAnnounceEnabled>false</globalAnnounceEnabled><localAnnounceEnabled>false</localAnnounceEnabled>
<relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled><startBrowser>false</startBrowser>
<urAccepted>-1</urAccepted><crashReportingEnabled>false</crashReportingEnabled><autoUpgradeIntervalH>0</autoUpgradeIntervalH>
<setLowPriority>false</setLowPriority><reconnectionIntervalS>1</reconnectionIntervalS>
</options>
</configuration>
`, folder, kind, s.delay, s.sender.id, s.receiver.id, marker, s.sender.entry(), s.receiver.entry(), d.gui, apiKey, d.listen)
	return os.WriteFile(filepath.Join(d.home, "config.xml"), []byte(text), 0o600)
}

func (d device) entry() string {
	return fmt.Sprintf("<device id=%q name=%q><address>tcp://%s</address></device>\n", d.id, filepath.Base(d.home), d.listen)
}

// folderStatus is what a device says of the folder.
type folderStatus struct {
	State          string `json:"state"`
	LocalFiles     int    `json:"localFiles"`
	NeedTotalItems int    `json:"needTotalItems"`
}

// status asks the device; while it does not answer, it is of no state.
func (d device) status() (is folderStatus) {
	request, err := http.NewRequest(http.MethodGet, "http://"+d.gui+"/rest/db/status?folder=tree", nil)
	if err != nil {
		return is
	}
	request.Header.Set("X-API-Key", apiKey)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return is
	}
	defer response.Body.Close()
	if json.NewDecoder(response.Body).Decode(&is) != nil {
		return folderStatus{}
	}
	return is
}

func firstDirectory(root string) (string, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			return e.Name(), nil
		}
	}
	return "", fmt.Errorf("%s has no directory", root)
}
