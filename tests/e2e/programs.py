# SPDX-License-Identifier: GPL-2.0-or-later
"""Work for real programs, such as makes them allocate from many different stacks."""
import subprocess

QUERY = ("drop table if exists t; create table t(a integer primary key, b text, c real);"
         "with recursive n(x) as (select 1 union all select x + 1 from n where x < 300)"
         " insert into t select x, 'row number ' || x, x * 1.5 from n; create index t_b on t(b);"
         "select count(*), group_concat(b), sum(c) over (order by b) from t group by a % 10 order by 2;"
         "select * from (select b, json_group_array(c) from t group by length(b)) join t using (b);")


def python_script(folder, rounds=None):
    """The path of a script that does its work so often, or for ever."""
    path = f"{folder}/work.py"
    with open(path, "w") as f:
        f.write("import json, re, functools\n"
                "class Node(dict):\n"
                "    def __getattr__(self, name): return self.setdefault(name, [name] * 3)\n"
                "    def __lt__(self, other): return len(self.a) < len(other.b + [str(self)])\n"
                "def nest(n): return sorted([nest(n - 1), [str(n)]], key=lambda x: str(x)) if n else ['leaf']\n"
                "def turn(m): return re.sub('[0-9]', lambda k: k.group() * 2, m.group())\n"
                f"for i in {f'range({rounds})' if rounds else 'iter(int, 1)'}:\n"
                "    text = json.dumps([dict(a=i, b=str(i) * 3) for i in range(50)], default=str, indent=1)\n"
                "    json.loads(text, object_hook=lambda d: Node(d, c=list(d)))\n"
                "    sorted(Node(a=list(range(i))) for i in range(10))\n"
                "    nest(6)\n"
                "    re.sub('[0-9]+', turn, text)\n"
                "    functools.reduce(lambda a, b: a + b, map(lambda i: [i, str(i)], range(30)))\n")
    return path


def bash_script(rounds=None):
    return ('f() { local n=$1 t="item $1"; if ((n > 0)); then local u=${t//e/ee}; f $((n - 1)); else '
            'case $t in *0) a=(${t} {1..9});; esac; for x in "${a[@]}"; do y=${x/1/one}; done; fi; }; '
            f'for ((i = 0; {f"i < {rounds}" if rounds else ""}; i++)); do for d in 1 2 5; do f $d; done; done')


def cc1plus(folder, functions):
    """The command that compiles so many functions."""
    program = subprocess.check_output(["g++", "-print-prog-name=cc1plus"], text=True).strip()
    with open(f"{folder}/big.cc", "w") as f:
        f.write("#include <map>\n#include <string>\n#include <vector>\n#include <algorithm>\n")
        for i in range(functions):
            f.write(f"struct s{i} {{ int a; char b[{i % 60 + 1}]; std::vector<s{max(i - 1, 0)}> v; }};\n"
                    f"int f{i}(std::map<std::string, s{i}> &m, int x) {{ for (auto &p : m) for (int k = 0; k < x; k++)"
                    f" x += p.second.a * k ^ {i}; std::vector<int> w(x); std::sort(w.begin(), w.end(),"
                    f" [](int a, int b) {{ return a % {i + 2} < b; }}); return w[{i}]; }}\n")
    subprocess.run(["g++", "-E", "-P", "-o", f"{folder}/big.ii", f"{folder}/big.cc"], check=True)
    return [program, "-quiet", "-fpreprocessed", "-O2", f"{folder}/big.ii", "-o", "/dev/null"]
