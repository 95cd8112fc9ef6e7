#![no_main]

sprat_fuzz::target!(UTP);
