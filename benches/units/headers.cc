// A unit that is mostly headers, as C++ units are: about 400 of them with libstdc++ 12.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <iostream>
#include <map>
#include <random>
#include <regex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

int main() {
    std::map<std::string, std::vector<int>> lists;
    std::regex pattern("a+");
    for (auto& [name, list] : lists) {
        std::cout << name << list.size() << std::regex_match(name, pattern);
    }
    std::unordered_map<std::string, std::filesystem::path> paths;
    std::vector<std::string> names;
    std::sort(names.begin(), names.end());
    std::cout << paths.size();
}
