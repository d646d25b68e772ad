// SPDX-License-Identifier: GPL-2.0-or-later
// C++ whose places tests/e2e/symbols.py looks up: templates, lambdas, the library inlined.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace shapes {

struct Shape {
	virtual ~Shape() = default;
	virtual double area() const = 0;
	std::string name;
};

template <typename T> struct Box : Shape {
	T a, b;
	Box(T x, T y) : a(x), b(y) { name = "box of " + std::to_string(a); }
	double area() const override { return double(a) * double(b); }
};

namespace {

struct Circle final : Shape {
	double r;
	explicit Circle(double x) : r(x) { name = "circle"; }
	double area() const override { return 3.14 * r * r; }
};

template <typename F> auto twice(F f)
{
	return [f](auto x) { return f(f(x)); };
}

} // namespace

template <typename T, typename... More> T total(T first, More... more)
{
	if constexpr (sizeof...(more) == 0)
		return first;
	else
		return first + total<T>(more...);
}

class Register {
	std::map<std::string, std::vector<std::unique_ptr<Shape>>> by_name;
	std::unordered_map<std::string, double> areas;

    public:
	void add(std::unique_ptr<Shape> s)
	{
		if (s->area() < 0)
			throw std::invalid_argument("negative: " + s->name);
		areas[s->name] += s->area();
		by_name[s->name].push_back(std::move(s));
	}
	double sum() const
	{
		return std::accumulate(areas.begin(), areas.end(), 0.0,
				       [](double d, const auto &p) { return d + p.second; });
	}
	std::vector<std::string> names() const
	{
		std::vector<std::string> v;
		for (const auto &[name, shapes] : by_name)
			v.push_back(name + "*" + std::to_string(shapes.size()));
		std::sort(v.begin(), v.end(), [](const auto &a, const auto &b) {
			return a.size() != b.size() ? a.size() < b.size() : a < b;
		});
		return v;
	}
};

} // namespace shapes

static std::string replaced(std::string s)
{
	for (auto at = s.find('*'); at != s.npos; at = s.find('*', at + 1))
		s.replace(at, 1, " times ");
	return s;
}

int main(int argc, char **argv)
{
	shapes::Register all;
	std::function<int(int)> f = shapes::twice([&](int x) { return x + argc; });
	struct Local {
		int value;
		int next() { return ++value * 3; }
	} local{argc};

	try {
		for (int i = 0; i < f(3); i++) {
			all.add(std::make_unique<shapes::Box<int>>(i, i + 1));
			all.add(std::make_unique<shapes::Box<double>>(i * .5, local.next()));
			all.add(std::make_unique<shapes::Circle>(i));
		}
		all.add(std::make_unique<shapes::Box<long>>(-argc, shapes::total(1, argc, 3)));
	} catch (const std::exception &e) {
		printf("%s\n", e.what());
	}
	for (const auto &name : all.names())
		puts(replaced(name + argv[0]).c_str());
	printf("%f\n", all.sum());
}
