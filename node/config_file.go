package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"
)

// readConfig reads settings from a YAML or JSON file, or from a directory with one file for each.
func readConfig(path string) ([]given, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return readConfigDir(path)
	}
	text, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	return parseConfig(path, []byte(text))
}

// readConfigDir reads a directory as Mesos's packages have it: the name of a file is that of a flag, its
// content the value. ?NAME sets a flag that is on or off to on, ?no-NAME to off. Hidden files and those
// that editors and packages leave behind are passed over.
func readConfigDir(dir string) ([]given, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var values []given
	var errs []error
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || strings.Contains(name, ".dpkg-") {
			continue
		}
		v := given{name: name, where: filepath.Join(dir, name)}
		if flag, ok := strings.CutPrefix(name, "?"); ok {
			v.name, v.text = flag, "true"
			if off, ok := strings.CutPrefix(strings.ReplaceAll(flag, "_", "-"), "no-"); ok {
				v.name, v.text = off, "false"
			}
			values = append(values, v)
			continue
		}
		text, err := readBounded(v.where)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		v.text = strings.TrimSpace(text)
		values = append(values, v)
	}
	return values, errors.Join(errs...)
}

// parseConfig reads a mapping of settings to values. JSON is YAML. Text stands as it is written, so that
// no version of YAML decides what "on" or 0777 means; a list is for settings that take several values;
// anything else is passed on as JSON, which --resources and others read.
func parseConfig(path string, text []byte) ([]given, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(document.Content) == 0 {
		return nil, nil // empty, or only comments
	}
	top := document.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: is not a mapping of settings to values, such as 'gc-delay: 2days'", path, top.Line)
	}
	var values []given
	var errs []error
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		v := given{name: key.Value, where: fmt.Sprintf("%s:%d", path, key.Line)}
		if err := v.read(value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", v.where, key.Value, err))
			continue
		}
		values = append(values, v)
	}
	return values, errors.Join(errs...)
}

// read takes the value from a node of YAML.
func (v *given) read(n *yaml.Node) error {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.ShortTag() == "!!null" {
			return errors.New("has no value")
		}
		v.text = n.Value
		return nil
	case yaml.SequenceNode:
		if list, ok := scalars(n); ok {
			v.list = list
			return nil
		}
	case yaml.MappingNode:
	default:
		return errors.New("anchors and aliases are not allowed")
	}
	if hasAlias(n) {
		return errors.New("anchors and aliases are not allowed")
	}
	var any any
	if err := n.Decode(&any); err != nil {
		return err
	}
	text, err := json.Marshal(any)
	if err != nil {
		return err
	}
	v.text = string(text)
	return nil
}

// scalars are the elements of a list of texts and numbers.
func scalars(n *yaml.Node) ([]string, bool) {
	list := make([]string, 0, len(n.Content))
	for _, e := range n.Content {
		if e.Kind != yaml.ScalarNode || e.ShortTag() == "!!null" {
			return nil, false
		}
		list = append(list, e.Value)
	}
	return list, true
}

func hasAlias(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode || n.ShortTag() == "!!merge" {
		return true
	}
	for _, c := range n.Content {
		if hasAlias(c) {
			return true
		}
	}
	return false
}
