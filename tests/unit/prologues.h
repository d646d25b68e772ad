/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first bytes of allocator functions as distributions ship them (Debian 11,
 * 12 and 13), and where their entry probe belongs: library, function, address,
 * arguments that are read (bits), argument for which NULL is no event, whether
 * there is a return probe, then the expected offset, whether the kernel emulates
 * the instruction there, and how far the stack has grown.
 */
static const struct prologue {
	const char *library, *function;
	uint64_t address;
	unsigned int arguments;
	int null_argument;
	bool returns;
	uint32_t offset;
	bool emulated;
	uint32_t stack_bytes;
	const char *code; /* hex */
} prologues[] = {
	{"glibc 2.31", "malloc", 0x85de0, 1, 0, true, 7, true, 0, /* pushq %r12 */
	 "488b05098114004154554889fd53488b004885c00f85460100004885ff0f881d010000488d471731db4883f81f0f877d"},
	{"glibc 2.31", "free", 0x86410, 1, 1, false, 17, true, 24, /* jne 0x864a8 */
	 "4883ec18488b05dd7a1400488b004885c00f85810000004885ff7474488b47f8488d77f0a8027538488b153979140064"},
	{"glibc 2.31", "calloc", 0x86b40, 3, 0, true, 0, true, 0, /* pushq %r13 */
	 "41554889f8415455534883ec0848f7e64989c40f90c04d85e40f88c90100000fb6c04885c00f85bd010000488b057e73"},
	{"glibc 2.31", "realloc", 0x86670, 3, 0, true, 0, true, 0, /* pushq %r15 */
	 "41574156415541544989f4554889fd534883ec18488b0555791400488b004885c00f85390200004885f675244885ff0f"},
	{"glibc 2.31", "reallocarray", 0x89180, 7, 0, true, 0, false, 0, /* movq %rsi, %rax */
	 "4889f048f7e24889c67005e9b08ef9ff488b05d94c140064c7000c00000031c0c3"},
	{"glibc 2.31", "posix_memalign", 0x87800, 5, 0, true, 0, true, 0, /* pushq %rbx */
	 "534889fb4889f74889d64889fa48c1ea03488d42ff4821d04889fa83e2074809d0752d4885ff7428488b542408e8dee8"},
	{"glibc 2.31", "aligned_alloc", 0x86a90, 2, 0, true, 4, true, 0, /* jmp 0x86110 */
	 "488b1424e977f6ffff"},
	{"glibc 2.31", "valloc", 0x86aa0, 1, 0, true, 6, true, 0, /* pushq %rbp */
	 "8b05be771400554889fd85c07822488b05ab731400488b5424084889ee5d488b7818e949f6ffff660f1f840000000000"},
	{"glibc 2.31", "pvalloc", 0x86ae0, 1, 0, true, 6, true, 0, /* pushq %rbx */
	 "8b057e771400534889fb85c07832488b056b731400488b542408488b7818488d77ff4801f37220be010000004829fe48"},
	{"glibc 2.36", "malloc", 0x98930, 1, 0, true, 0, true, 0, /* pushq %r12 */
	 "415455534889fb4883ec10803d461b1400000f84f80100004885db0f88fd010000488d431731ed4883f81f760c4883e0"},
	{"glibc 2.36", "free", 0x98ef0, 1, 1, false, 9, true, 0, /* pushq %rbp */
	 "4885ff0f84bf00000055488d77f0534883ec18488b1dd69e1300488b47f8648b2ba802755b488b155c9e13006448833a"},
	{"glibc 2.36", "calloc", 0x996e0, 3, 0, true, 0, true, 0, /* pushq %r13 */
	 "41554889f8415455534883ec1848f7e64889c30f90c04885db0f88d90200000fb6c04885c00f85cd020000803d760d14"},
	{"glibc 2.36", "realloc", 0x99130, 3, 0, true, 0, true, 0, /* pushq %r15 */
	 "4157415641554154554889f5534889fb4883ec28803d3d131400000f84570100004885ed75224885db0f85c101000048"},
	{"glibc 2.36", "reallocarray", 0x9a7e0, 7, 0, true, 0, false, 0, /* movq %rsi, %rax */
	 "4889f048f7e24889c67005e940b8f8ff488b05e985130064c7000c00000031c0c3"},
	{"glibc 2.36", "posix_memalign", 0x9a280, 5, 0, true, 7, true, 0, /* pushq %r12 */
	 "803d010214000041544989d4554889fd534889f3745a4889da48c1ea03488d42ff4821d04889da83e2074809d0753148"},
	{"glibc 2.36", "aligned_alloc", 0x99610, 2, 0, true, 7, true, 0, /* je 0x99620 */
	 "803d710e1400007407e932f6ffff66904883ec18488974240848893c24e8bebcffff488b742408488b3c244883c418e9"},
	{"glibc 2.36", "valloc", 0x99650, 1, 0, true, 7, true, 0, /* pushq %rbx */
	 "803d310e140000534889fb741b488b05349813004889de5b488b7818e9dff5ffff0f1f8000000000e873bcffffebde"},
	{"glibc 2.36", "pvalloc", 0x99680, 1, 0, true, 7, true, 0, /* pushq %rbx */
	 "803d010e140000534889fb742b488b0504981300488b7818488d47ff4801d8721ebe010000005b4829fe4821c6e99ef5"},
	{"glibc 2.41", "malloc", 0xa28d0, 1, 0, true, 0, true, 0, /* pushq %r12 */
	 "415455534889fb4883ec10803d46991400000f84680100004885db0f886d010000488d431731ed4883f81f760c4883e0"},
	{"glibc 2.41", "free", 0xa2fc0, 1, 1, false, 9, true, 0, /* pushq %r15 */
	 "4885ff0f847f010000415741564155415455488d6ff0534883ec284c8b250e1e1400488b47f864458b2c24a8020f85ed"},
	{"glibc 2.41", "calloc", 0xa3b00, 3, 0, true, 0, true, 0, /* pushq %r14 */
	 "41564889f84155415455534883ec1048f7e64889c30f90c04885db0f882f0200000fb6c04885c00f8523020000803df4"},
	{"glibc 2.41", "realloc", 0xa3310, 3, 0, true, 0, true, 0, /* pushq %r15 */
	 "4157415641554154554889f5534889fb4883ec38803dfd8e1400000f84af0100004885ed75224885db0f85a102000048"},
	{"glibc 2.41", "reallocarray", 0xa4d60, 7, 0, true, 0, false, 0, /* movq %rsi, %rax */
	 "4889f048f7e24889c67005e9b032f8ff488b057900140064c7000c00000031c0c3"},
	{"glibc 2.41", "posix_memalign", 0xa47d0, 5, 0, true, 7, true, 0, /* pushq %r12 */
	 "803d517a14000041544989d4554889fd534889f3745a4889da48c1ea03488d42ff4821d04889da83e2074809d0753148"},
	{"glibc 2.41", "aligned_alloc", 0xa3a00, 2, 0, true, 0, true, 0, /* pushq %rbx */
	 "534889fb4883ec10803d1988140000743f488d43ff4885d875164885db74114883c4104889df5be9b4f1ffff0f1f4000"},
	{"glibc 2.41", "memalign", 0xa39c0, 2, 0, true, 7, true, 0, /* je 0xa39d0 */
	 "803d61881400007407e912f2ffff66904883ec18488974240848893c24e8beb4ffff488b742408488b3c244883c418e9"},
	{"glibc 2.41", "valloc", 0xa3a70, 1, 0, true, 7, true, 0, /* pushq %rbx */
	 "803db187140000534889fb741b488b053c1414004889de5b488b7818e94ff1ffff0f1f8000000000e803b4ffffebde"},
	{"glibc 2.41", "pvalloc", 0xa3aa0, 1, 0, true, 7, true, 0, /* pushq %rbx */
	 "803d8187140000534889fb742b488b050c141400488b7818488d47ff4801d8721ebe010000005b4829fe4821c6e90ef1"},
	{"musl 1.2.3", "malloc", 0x27920, 1, 0, true, 0, true, 0, /* jmp 0x29290 */
	 "e96b190000"},
	{"musl 1.2.3", "free", 0x27810, 1, 1, false, 0, true, 0, /* jmp 0x282d0 */
	 "e9bb0a0000"},
	{"musl 1.2.3", "calloc", 0x27720, 3, 0, true, 0, true, 0, /* pushq %r12 */
	 "41544989f455534885f6740c4889f848f7e60f80b90000004c0fafe74c89e7e8ccd8feff4889c54885c00f84ae000000"},
	{"musl 1.2.3", "realloc", 0x29fe0, 3, 0, true, 0, true, 0, /* jmp 0x29ae0 */
	 "e9fbfaffff"},
	{"musl 1.2.3", "reallocarray", 0x29ff0, 7, 0, true, 6, true, 0, /* je 0x2a000 */
	 "4889d14885d274084889f048f7e17009480faff1e927b0feff50e8b113ffffc7000c00000031c05ac3"},
	{"musl 1.2.3", "posix_memalign", 0x29fa0, 5, 0, true, 0, true, 0, /* pushq %rbx */
	 "53b8160000004889fb4889f74883fe0776124889d6e896b0feff4885c0741148890331c05bc3662e0f1f840000000000"},
	{"musl 1.2.3", "aligned_alloc", 0x27930, 2, 0, true, 0, true, 0, /* pushq %rbp */
	 "554889f85348f7d84821f84883ec084839f80f85300200004889c34889f54801f30f820902000048c1e8230f85ff0100"},
	{"musl 1.2.3", "memalign", 0x29f90, 2, 0, true, 0, true, 0, /* jmp 0x15050 */
	 "e9bbb0feff"},
	{"musl 1.2.3", "valloc", 0x20690, 1, 0, true, 0, false, 0, /* movq %rdi, %rsi */
	 "4889febf00100000e9a349ffff"},
	{"jemalloc 5.3", "malloc", 0x23910, 1, 0, true, 7, true, 0, /* ja 0x239b0 */
	 "4881ff001000000f8793000000488d155c7f2c00488d4707488b0d49960a0048c1e8034c8d0586812c000fb634026448"},
	{"jemalloc 5.3", "free", 0x27c60, 1, 1, false, 48, true, 0, /* jne 0x27d20 */
	 "4889f8488b150e530a004889f948c1e81a4881e1000000c025f00000006448030425000000004801d0483b88b00100000f858a000000"},
	{"jemalloc 5.3", "calloc", 0x253f0, 3, 0, true, 0, true, 0, /* pushq %r15 */
	 "41574156415541544989f455534889fb4881ec8800000064488b2c250000000064488b0425280000004889442478488b"},
	{"jemalloc 5.3", "realloc", 0x2bdd0, 3, 0, true, 0, true, 0, /* pushq %r15 */
	 "4157415641554154554889fd534889f34881ec8800000064488b042528000000488944247831c04885ff0f95c04885f6"},
	{"jemalloc 5.3", "posix_memalign", 0x239f0, 5, 0, true, 0, true, 0, /* pushq %r15 */
	 "4157415641554989fd41544989d4554889f5534883ec7864488b1c250000000064488b0425280000004889442468488b"},
	{"jemalloc 5.3", "aligned_alloc", 0x24720, 2, 0, true, 0, true, 0, /* pushq %r15 */
	 "41574156415541544989f4554889fd534883ec6864488b1c250000000064488b0425280000004889442458488b052688"},
	{"jemalloc 5.3", "memalign", 0x27d30, 2, 0, true, 0, true, 0, /* pushq %r15 */
	 "41574156415541544989f4554889fd534883ec6864488b1c250000000064488b0425280000004889442458488b051652"},
	{"jemalloc 5.3", "valloc", 0x289b0, 1, 0, true, 0, true, 0, /* pushq %r15 */
	 "4157415641554154554889fd534883ec6864488b1c250000000064488b0425280000004889442458488b0599450a0048"},
	{"tcmalloc 2.10", "malloc", 0x1ed40, 1, 0, true, 10, true, 0, /* jne 0x1edc1 */
	 "488b0559ab00004885c07575488b0505a10000644c8b004d85c074654881ff00040000775383c707c1ef03488d05ae81"},
	{"tcmalloc 2.10", "free", 0x1d100, 1, 1, false, 10, true, 0, /* jne 0x1d1a0 */
	 "488b0559b11b004885c00f85900000004889fa488b053ebd0000488d0d9f0c010048c1ea0d0fb7f2644c8b48084989d2"},
	{"tcmalloc 2.10", "calloc", 0x1dae0, 3, 0, true, 0, true, 0, /* pushq %r13 */
	 "41554889f841544883ec0848f7e64989c50f90c04885f60f840b0100000fb6c04885c00f85e1000000488b0548b30000"},
	{"tcmalloc 2.10", "realloc", 0x1dc70, 3, 0, true, 0, true, 0, /* pushq %r15 */
	 "4157415641554154554889f5534883ec184885ff0f84b60200004889fb4989fc48c1eb0d4989de440fb7eb664531f648"},
	{"tcmalloc 2.10", "posix_memalign", 0x1efb0, 5, 0, true, 11, true, 0, /* jne 0x1efe8 */
	 "488d46ff4883c8074885f0752b53b8160000004889fb4889f74885f674124889d6e8faeafeff4885c0741548890331c0"},
	{"tcmalloc 2.10", "aligned_alloc", 0x1ee40, 2, 0, true, 10, true, 0, /* ja 0x1ef38 */
	 "4989f84881ff002000000f87e80000004c89c0488d7c37ff48f7d84821c70f84fc000000488b0535aa00004885c0757d"},
	{"tcmalloc 2.10", "valloc", 0x1f000, 1, 0, true, 0, true, 0, /* pushq %rbp */
	 "554889fd488b3d25a900004885ff750fe8cbedfeff4863f848893d11a900004889ee5de9a8eafeff"},
	{"tcmalloc 2.10", "pvalloc", 0x1f030, 1, 0, true, 0, true, 0, /* pushq %rbx */
	 "534889fb488b3df5a800004885ff750fe89bedfeff4863f848893de1a800004885db4889fe480f44df48f7de488d441f"},
	{"tcmalloc 2.16", "malloc", 0x1f5c0, 1, 0, true, 14, true, 0, /* jne 0x1f649 */
	 "f30f1efa488b05759100004885c07579488b05098a0000644c8b004d85c074694881ff00040000775783c707c1ef0348"},
	{"tcmalloc 2.16", "free", 0x1d800, 1, 1, false, 14, true, 0, /* jne 0x1d8a0 */
	 "f30f1efa488b05f55e1b004885c00f858c000000488b05c5a70000488d351eb4000064488b084889f848c1e80d440fb7"},
	{"tcmalloc 2.16", "calloc", 0x1e240, 3, 0, true, 7, true, 0, /* pushq %rbp */
	 "f30f1efa4889f85548f7e64889e541544989c4530f90c04885f60f84080100000fb6c04885c00f85d4000000488b056d"},
	{"tcmalloc 2.16", "realloc", 0x1e400, 3, 0, true, 4, true, 0, /* pushq %rbp */
	 "f30f1efa554889e54157415641554154534889f34883ec284885ff0f84ef0200004989fe4989fc49c1ee0d4c89f0450f"},
	{"tcmalloc 2.16", "posix_memalign", 0x1f830, 5, 0, true, 15, true, 0, /* jne 0x1f878 */
	 "f30f1efa488d46ff4883c8074885f0753755b8160000004889e5534889fb4889f74883ec084885f674124889d6e84ee1"},
	{"tcmalloc 2.16", "aligned_alloc", 0x1f6c0, 2, 0, true, 11, true, 0, /* ja 0x1f7a0 */
	 "f30f1efa4881ff002000000f87cf0000004889fa488d4437ff48f7da4821d00f84e3000000488b15549000004885d275"},
	{"tcmalloc 2.16", "valloc", 0x1f890, 1, 0, true, 4, true, 0, /* pushq %rbp */
	 "f30f1efa554889e5534889fb4883ec08488b3d398f00004885ff750fe8bfe3feff4863f848893d258f00004889de488b"},
	{"tcmalloc 2.16", "pvalloc", 0x1f8d0, 1, 0, true, 4, true, 0, /* pushq %rbp */
	 "f30f1efa554889e5534889fb4883ec08488b3df98e00004885ff750fe87fe3feff4863f848893de58e00004885db4889"},
	{"mimalloc 2.0", "malloc", 0x10b70, 1, 0, true, 0, false, 0, /* movq 0xb449(%rip), %rax */
	 "488b0549b400004889fe64488b384881fe000400007729488d460748c1e803488b44c708488b50104885d27423488b0a"},
	{"mimalloc 2.0", "free", 0x10ee0, 1, 1, false, 6, true, 0, /* je 0x10f45 */
	 "4889f94885ff745d488d7fff4889c84881e7000000fe4829f848c1e810488d048048c1e004488db008010000644c8b04"},
	{"mimalloc 2.0", "calloc", 0x111f0, 3, 0, true, 0, false, 0, /* movq 0xadc9(%rip), %rdx */
	 "488b15c9ad00004889f864488b3a4883f801740848f7e64889c670644881fe00040000774b488d460748c1e803488b44"},
	{"mimalloc 2.0", "realloc", 0x11670, 3, 0, true, 0, false, 0, /* movq 0xa949(%rip), %rax */
	 "488b0549a900004889f24889fe64488b004889c7e9f74effff"},
	{"mimalloc 2.0", "reallocarray", 0x108d0, 7, 0, true, 0, true, 0, /* jmp 0x6530 */
	 "e95b5cffff"},
	{"mimalloc 2.0", "posix_memalign", 0x108a0, 5, 0, true, 0, true, 0, /* jmp 0x6510 */
	 "e96b5cffff"},
	{"mimalloc 2.0", "aligned_alloc", 0x108b0, 2, 0, true, 0, true, 0, /* jmp 0x62a0 */
	 "e9eb59ffff"},
	{"mimalloc 2.0", "memalign", 0x108f0, 2, 0, true, 0, true, 0, /* jmp 0x63f0 */
	 "e9fb5affff"},
	{"mimalloc 2.0", "valloc", 0x10880, 1, 0, true, 0, true, 0, /* jmp 0x6100 */
	 "e97b58ffff"},
	{"mimalloc 2.0", "pvalloc", 0x108c0, 1, 0, true, 0, true, 0, /* jmp 0x6470 */
	 "e9ab5bffff"},
	{"mimalloc 3.0", "malloc", 0x70e0, 1, 0, true, 0, true, 0, /* endbr64 */
	 "f30f1efa488b05e5ae01004889fe64488b384881fe00040000772d488d460748c1e803488b84c7d8000000488b500848"},
	{"mimalloc 3.0", "free", 0x6c00, 1, 1, false, 0, true, 0, /* endbr64 */
	 "f30f1efa488b15f51902004889f94889f84889fe48c1e91d48c1e810488b14ca25ff1f0000488b3cc264488b14250000"},
	{"mimalloc 3.0", "calloc", 0x7340, 3, 0, true, 0, true, 0, /* endbr64 */
	 "f30f1efa488b1585ac01004889f864488b3a4883f801740848f7e64889c670704881fe000400007757488d460748c1e8"},
	{"mimalloc 3.0", "realloc", 0x7760, 3, 0, true, 0, true, 0, /* endbr64 */
	 "f30f1efa488b0565a801004889f24889fe64488b004889c7e913eeffff"},
	{"mimalloc 3.0", "reallocarray", 0x6b40, 7, 0, true, 4, true, 0, /* jmp 0x6560 */
	 "f30f1efae917faffff"},
	{"mimalloc 3.0", "posix_memalign", 0x6af0, 5, 0, true, 4, true, 0, /* jmp 0x6540 */
	 "f30f1efae947faffff"},
	{"mimalloc 3.0", "aligned_alloc", 0x6b00, 2, 0, true, 4, true, 0, /* jmp 0x62b0 */
	 "f30f1efae9a7f7ffff"},
	{"mimalloc 3.0", "memalign", 0x6b20, 2, 0, true, 4, true, 0, /* jmp 0x6410 */
	 "f30f1efae9e7f8ffff"},
	{"mimalloc 3.0", "valloc", 0x6ad0, 1, 0, true, 4, true, 0, /* jmp 0x60e0 */
	 "f30f1efae907f6ffff"},
	{"mimalloc 3.0", "pvalloc", 0x6b10, 1, 0, true, 4, true, 0, /* jmp 0x6490 */
	 "f30f1efae977f9ffff"},
};
